import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { UnitPicture } from '../model/unit-picture.ts';
import type { Deployment } from '../store/deployments.ts';
import type { PublishedItem } from '../store/items.ts';
import { type DesiredFacts, planDesiredStatus } from './desired-status.ts';

const published = (id: string, version: string, type: PublishedItem['type'] = 'service'): PublishedItem => ({
  ...{ id, version, type, title: id, owner: 'sp', publishedAt: '2026-01-01T00:00:00.000Z', defaults: {} },
  ...{ verification: 'valid', verificationReason: null },
  indexDigest: `sha256:${'0'.repeat(64)}`,
});

const deployed = (itemId: string, version: string, more: Partial<Deployment> = {}): Deployment => ({
  ...{ itemId, version, subject: 'default', numInstances: 1, priority: 0, labels: [], ...more },
});

const plan = (facts: Partial<DesiredFacts>) =>
  planDesiredStatus({
    deployments: [],
    items: [],
    wishes: { nodeStates: {} },
    picture: {},
    chains: [],
    subjects: [],
    ...facts,
  });

const node = (codename: string, state: 'provisioned' | 'paused' | 'unprovisioned') =>
  ({ identity: { codename }, state }) as NonNullable<UnitPicture['nodes']>[number];

describe('planDesiredStatus', () => {
  test('sections about items are there even when nothing is wanted, since an absent one would mean the same to 9.1', () => {
    expect(plan({})).toEqual({
      messageType: 'desiredStatus',
      ...{ items: [], instances: [], subjects: [], certificates: [], certificateChains: [] },
    });
  });

  test('each deployment is an item and an instance entry; subjects are listed once', () => {
    const status = plan({
      deployments: [
        deployed('a', '1.0.0', { numInstances: 3, priority: 7, labels: ['front'] }),
        deployed('b', '2.0.0'),
      ],
      items: [published('a', '1.0.0'), published('b', '2.0.0', 'component')],
    });
    expect(status.items).toMatchObject([
      { item: { id: 'a', type: 'service' }, version: '1.0.0', owner: { id: 'sp' } },
      { item: { id: 'b', type: 'component' }, version: '2.0.0' },
    ]);
    expect(status.instances).toMatchObject([
      { item: { id: 'a' }, numInstances: 3, priority: 7, labels: ['front'] },
      { item: { id: 'b' }, numInstances: 1, priority: 0, labels: [] },
    ]);
    expect(status.subjects).toEqual([{ identity: { id: 'default' }, type: 'group', isReportedFromUnit: false }]);
  });

  test('certificates that several chains share are sent once', () => {
    const shared = { fingerprint: 'CA', certificate: 'Y2E=' };
    const leaf = (name: string) => ({ fingerprint: name, certificate: 'bGVhZg==' });
    const status = plan({
      chains: [
        { name: 'one', certificates: [leaf('L1'), shared] },
        { name: 'two', certificates: [leaf('L2'), shared] },
      ],
    });
    expect(status.certificates?.map(({ fingerprint }) => fingerprint)).toEqual(['L1', 'CA', 'L2']);
    expect(status.certificateChains).toEqual([
      { name: 'one', fingerprints: ['L1', 'CA'] },
      { name: 'two', fingerprints: ['L2', 'CA'] },
    ]);
  });

  test('nodes are named only when their state has to change', () => {
    const picture = { nodes: [node('a', 'provisioned'), node('b', 'paused'), node('c', 'unprovisioned')] };
    const wishes = { nodeStates: { a: 'paused', b: 'paused', c: 'paused', gone: 'paused' } } as const;
    expect(plan({ picture, wishes }).nodes).toEqual([{ item: { codename: 'a' }, state: 'paused' }]);
    expect(plan({ picture: { nodes: [node('a', 'paused')] }, wishes }).nodes).toBeUndefined();
  });

  test('a unit configuration is sent only while the unit has neither taken nor refused it', () => {
    const wishes = { nodeStates: {}, unitConfig: { version: '2.0.0', formatVersion: '7', nodes: [] } };
    const told = (...unitConfig: NonNullable<UnitPicture['unitConfig']>) => plan({ wishes, picture: { unitConfig } });
    expect(told().unitConfig).toMatchObject({ version: '2.0.0' });
    expect(told({ state: 'absent' }).unitConfig).toBeDefined();
    expect(told({ version: '1.9.0', state: 'installed' }).unitConfig).toBeDefined();
    expect(told({ version: '2.0.0', state: 'installed' }).unitConfig).toBeUndefined();
    expect(told({ version: '2.1.0', state: 'installed' }).unitConfig).toBeUndefined();
    const refused = told({ version: '1.0.0', state: 'installed' }, { version: '2.0.0', state: 'failed' });
    expect(refused.unitConfig).toBeUndefined();
  });

  test('every item, subject and number that instances need is there', () => {
    const deployments = fc.uniqueArray(
      fc.record({
        itemId: fc.constantFrom('a', 'b', 'c', 'd'),
        version: fc.constantFrom('1.0.0', '2.0.0'),
        subject: fc.constantFrom('s', 't'),
        numInstances: fc.nat(5),
        priority: fc.nat(9),
        labels: fc.array(fc.constantFrom('x', 'y')),
      }),
      { selector: ({ itemId }) => itemId },
    );
    fc.assert(
      fc.property(deployments, (wanted) => {
        const status = plan({
          deployments: wanted,
          items: wanted.map((entry) => published(entry.itemId, entry.version)),
        });
        const items = new Set(status.items?.map(({ item }) => item.id));
        const subjects = new Set(status.subjects?.map(({ identity }) => identity.id));
        expect(status.instances).toHaveLength(wanted.length);
        expect(status.instances?.every(({ item, subject }) => items.has(item.id) && subjects.has(subject.id))).toBe(
          true,
        );
        expect(
          status.instances?.every(({ numInstances, priority }) => [numInstances, priority].every(Number.isInteger)),
        ).toBe(true);
      }),
    );
  });
});
