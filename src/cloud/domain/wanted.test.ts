import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareVersions } from '../../core/index.ts';
import type { Deployment } from '../store/deployments.ts';
import type { Subject, Subscription } from '../store/subjects.ts';
import { planWanted, type WantedFacts } from './wanted.ts';

const subject = (id: string, more: Partial<Subject> = {}): Subject => ({
  ...{ id, type: 'group', title: id, fleet: '', priority: 0, reported: false, ...more },
});
const subscription = (itemId: string, version: string, more: Partial<Subscription> = {}): Subscription => ({
  ...{ itemId, version, numInstances: 1, labels: [], ...more },
});
const deployment = (itemId: string, version: string, name = 'default'): Deployment => ({
  ...{ itemId, version, subject: name, numInstances: 1, priority: 0, labels: [] },
});
const plan = (facts: Partial<WantedFacts>) =>
  planWanted({ deployments: [], subjects: [], releases: new Map(), newest: new Map(), ...facts });

const ITEMS = ['a', 'b', 'c'];
const VERSIONS = ['1.0.0', '1.1.0', '2.0.0'];
const version = fc.constantFrom(...VERSIONS);
const versionsByItem = fc
  .dictionary(fc.constantFrom(...ITEMS), version)
  .map((entries): ReadonlyMap<string, string> => new Map(Object.entries(entries)));
const facts: fc.Arbitrary<WantedFacts> = fc.record({
  deployments: fc.uniqueArray(
    fc.record({ itemId: fc.constantFrom(...ITEMS), version, subject: fc.constantFrom('s', 't') }).map((entry) => ({
      ...{ ...entry, numInstances: 2, priority: 1, labels: [] },
    })),
    { selector: ({ itemId }) => itemId },
  ),
  subjects: fc.uniqueArray(
    fc.record({
      subject: fc.constantFrom('s', 't', 'u').map((id) => subject(id, { priority: 5 })),
      subscriptions: fc.uniqueArray(
        fc.record({ itemId: fc.constantFrom(...ITEMS), version, numInstances: fc.nat(4), labels: fc.constant([]) }),
        { selector: ({ itemId }) => itemId },
      ),
    }),
    { selector: (entry) => entry.subject.id },
  ),
  releases: versionsByItem,
  newest: versionsByItem,
});

describe('planWanted', () => {
  test('an item that a subject of the unit has subscribed to runs for that subject, with its number and priority', () => {
    const wanted = plan({
      subjects: [
        { subject: subject('alice', { priority: 7 }), subscriptions: [subscription('radio', '1.0.0')] },
        { subject: subject('bob'), subscriptions: [subscription('radio', '1.0.0', { numInstances: 2, priority: 9 })] },
      ],
    });
    expect(wanted).toMatchObject([
      { itemId: 'radio', subject: 'alice', numInstances: 1, priority: 7 },
      { itemId: 'radio', subject: 'bob', numInstances: 2, priority: 9 },
    ]);
  });

  test('the version is that of the own deployment, else of verification, else of a campaign, else of the subscription', () => {
    const base = { subjects: [{ subject: subject('s'), subscriptions: [subscription('a', '1.0.0')] }] };
    const releases = new Map([['a', '1.1.0']]);
    const newest = new Map([['a', '2.0.0']]);
    const versionOf = (more: Partial<WantedFacts>) => plan({ ...base, ...more }).map((wanted) => wanted.version);
    expect(versionOf({})).toEqual(['1.0.0']);
    expect(versionOf({ releases })).toEqual(['1.1.0']);
    expect(versionOf({ releases, newest })).toEqual(['2.0.0']);
    expect(versionOf({ releases, newest, deployments: [deployment('a', '0.9.0')] })).toEqual(['0.9.0', '0.9.0']);
  });

  test('a deployment takes the place of a subscription of the same item and subject', () => {
    const wanted = plan({
      deployments: [deployment('a', '1.0.0', 's')],
      subjects: [{ subject: subject('s'), subscriptions: [subscription('a', '1.0.0', { numInstances: 5 })] }],
    });
    expect(wanted).toMatchObject([{ numInstances: 1, because: 'deployed on this unit' }]);
  });

  test('an item has one version, an item and subject one entry, and each entry a reason', () => {
    fc.assert(
      fc.property(facts, (given) => {
        const wanted = planWanted(given);
        const versions = new Map<string, Set<string>>();
        for (const entry of wanted) {
          versions.set(entry.itemId, (versions.get(entry.itemId) ?? new Set()).add(entry.version));
        }
        expect([...versions.values()].every((set) => set.size === 1)).toBe(true);
        expect(new Set(wanted.map((entry) => `${entry.itemId} ${entry.subject}`)).size).toBe(wanted.length);
        expect(wanted.every(({ because }) => because.length > 0)).toBe(true);
      }),
    );
  });

  test('exactly what was deployed or subscribed is wanted', () => {
    fc.assert(
      fc.property(facts, (given) => {
        const asked = new Set([
          ...given.deployments.map((entry) => `${entry.itemId} ${entry.subject}`),
          ...given.subjects.flatMap((entry) =>
            entry.subscriptions.map(({ itemId }) => `${itemId} ${entry.subject.id}`),
          ),
        ]);
        expect(new Set(planWanted(given).map((entry) => `${entry.itemId} ${entry.subject}`))).toEqual(asked);
        for (const entry of given.deployments) expect(planWanted(given)).toContainEqual(expect.objectContaining(entry));
      }),
    );
  });

  test('the order of subjects changes no version', () => {
    fc.assert(
      fc.property(facts, (given) => {
        const versionsOf = (some: WantedFacts) =>
          new Map(planWanted(some).map((entry) => [entry.itemId, entry.version] as const));
        expect(versionsOf({ ...given, subjects: given.subjects.toReversed() })).toEqual(versionsOf(given));
      }),
    );
  });

  test('with several subscriptions alone the highest version wins', () => {
    fc.assert(
      fc.property(fc.array(version, { minLength: 1 }), (versions) => {
        const subjects = versions.map((entry, index) => ({
          subject: subject(`s${index}`),
          subscriptions: [subscription('a', entry)],
        }));
        expect(plan({ subjects })[0]?.version).toBe(versions.toSorted(compareVersions).at(-1));
      }),
    );
  });
});
