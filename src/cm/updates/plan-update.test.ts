import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { DesiredStatus } from '../../protocol/index.ts';
import { differingSections, mergeDesired } from './desired.ts';
import { desiredStatus, instanceStatus, itemStatus, settledFacts } from './desired-for-tests.ts';
import { type Desired, NOTHING_DESIRED } from './desired-model.ts';
import { planUpdate, type UpdateFacts, whyRequired } from './plan-update.ts';
import { runRequests } from './run-requests.ts';

const desired = (versions: Record<string, string>, more: Partial<DesiredStatus> = {}) =>
  mergeDesired(desiredStatus(versions, more));

describe('what is required', () => {
  const wanted = desired({ web: '2.0.0' });
  const settled = settledFacts({ web: '2.0.0' });

  const cases: readonly (readonly [string, Desired, UpdateFacts, RegExp | undefined])[] = [
    ['nothing, when all is as wanted', wanted, settled, undefined],
    ['a missing item', wanted, { ...settled, items: [] }, /web 2.0.0 is not installed/],
    [
      'an item that only waits',
      wanted,
      { ...settled, items: [itemStatus('web', '2.0.0', 'pending')] },
      /not installed/,
    ],
    [
      'an item that nobody wants',
      wanted,
      { ...settled, items: [...settled.items, itemStatus('old', '1.0.0')] },
      /old 1.0.0 is installed and not wanted/,
    ],
    [
      'nothing for an item that was removed before',
      wanted,
      { ...settled, items: [...settled.items, itemStatus('old', '1.0.0', 'removed')] },
      undefined,
    ],
    ['a missing instance', wanted, { ...settled, instances: [] }, /web\/subject\/0 does not exist/],
    [
      'an instance too many',
      wanted,
      { ...settled, instances: [...settled.instances, instanceStatus('web', '2.0.0', 'active', { instance: 1 })] },
      /web\/subject\/1 is not wanted/,
    ],
    [
      'nothing for a failed service, which a node restarts by itself',
      wanted,
      { ...settled, instances: [instanceStatus('web', '2.0.0', 'failed')] },
      undefined,
    ],
    [
      'nothing for a service that the node brought along',
      wanted,
      {
        ...settled,
        instances: [...settled.instances, instanceStatus('boot', '1', 'active', { preinstalled: true })],
      },
      undefined,
    ],
    [
      'an ordered node state',
      desired({}, { nodes: [{ item: { codename: 'n1' }, state: 'paused' }] }),
      settledFacts({}),
      /n1/,
    ],
    [
      'an ordered unit configuration',
      desired({}, { unitConfig: { formatVersion: '7', version: '1.0.0', nodes: [] } }),
      settledFacts({}),
      /1\.0\.0/,
    ],
  ];

  test.each(cases)('[CM-20] %s', (_, state, facts, because) => {
    const why = whyRequired(state, facts);
    if (because) expect(why).toMatch(because);
    else expect(why).toBeUndefined();
  });

  test('[CM-31] a component that is not active, or has another version, is updated', () => {
    const component = desired(
      {},
      {
        items: [{ ...desiredStatus({ fw: '2' }).items![0]!, item: { id: 'fw', type: 'component' } }],
        instances: [{ item: { id: 'fw' }, subject: { id: 'subject' }, priority: 0, labels: [] }],
      },
    );
    const items = [{ ...itemStatus('fw', '2'), type: 'component' as const }];
    const running = (version: string, state: 'active' | 'failed') => ({
      items,
      instances: [instanceStatus('fw', version, state, { type: 'component' })],
    });
    expect(whyRequired(component, running('2', 'active'))).toBeUndefined();
    expect(whyRequired(component, running('1', 'active'))).toMatch(/version 1/);
    expect(whyRequired(component, running('2', 'failed'))).toMatch(/failed/);
  });
});

describe('what is decided', () => {
  const wanted = desired({ web: '2.0.0' });
  const facts = settledFacts({ web: '2.0.0' });

  test('[CM-20] the same again does nothing, whatever the order of its entries', () => {
    const both = { a: '1', b: '2' };
    const status = desiredStatus(both);
    const turned = { ...status, items: [...status.items!].reverse(), instances: [...status.instances!].reverse() };
    const situation = { accepted: mergeDesired(status), wanted: mergeDesired(turned), facts: settledFacts(both) };
    expect(planUpdate({ state: 'none', ...situation })).toEqual({ do: 'nothing' });
    expect(planUpdate({ state: 'launching', ...situation })).toEqual({ do: 'nothing' });
  });

  test('[CM-23] another one while an update runs starts over', () => {
    const newer = desired({ web: '3.0.0' });
    expect(planUpdate({ state: 'downloading', accepted: wanted, wanted: newer, facts })).toMatchObject({ do: 'start' });
  });

  test('[CM-27] fresh certificates count while an update runs, and are only remembered while none does', () => {
    const certificates = [{ certificate: 'AAAA', fingerprint: 'F1' }];
    const fresh = desired({ web: '2.0.0' }, { certificates });
    expect(planUpdate({ state: 'downloading', accepted: wanted, wanted: fresh, facts })).toMatchObject({ do: 'start' });
    expect(planUpdate({ state: 'none', accepted: wanted, wanted: fresh, facts })).toEqual({ do: 'remember' });
  });

  test('a change of priority alone is an update', () => {
    const [instance] = wanted.instances;
    const raised = { ...wanted, instances: [{ ...instance!, priority: 7 }] };
    expect(planUpdate({ state: 'none', accepted: wanted, wanted: raised, facts })).toMatchObject({
      do: 'start',
      because: 'the desired instances changed',
    });
  });
});

describe('sections', () => {
  test('[CM-17] an absent section keeps what was said before, an empty one removes it', () => {
    const before = desired({ web: '1' });
    const { items: _, ...partial } = desiredStatus({});
    expect(mergeDesired(partial, before).items).toEqual(before.items);
    expect(mergeDesired(partial, before).instances).toEqual([]);
    expect(mergeDesired({ messageType: 'desiredStatus' }, before)).toEqual(before);
  });

  test('differences are found by section, whatever the order of entries and members', () => {
    const a = desired({ x: '1', y: '2' });
    const swapped = {
      ...a,
      items: a.items.map(({ version, ...rest }) => ({ version, ...rest })).reverse(),
    };
    expect(differingSections(a, swapped)).toEqual([]);
    expect(differingSections(a, { ...a, subjects: [] })).toEqual(['subjects']);
    expect(differingSections(NOTHING_DESIRED, a)).toEqual(['items', 'instances', 'subjects']);
  });
});

const versions = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fc.constantFrom('1', '2', '3'), {
  noNullPrototype: true,
});

test('[CM-20] on a unit that is as desired, the same desired state never starts anything', () =>
  fc.assert(
    fc.property(versions, (wanted) => {
      const state = desired(wanted);
      const facts = settledFacts(wanted);
      expect(planUpdate({ state: 'none', accepted: state, wanted: state, facts })).toEqual({ do: 'nothing' });
    }),
  ));

test('[CM-20] any difference in a version or an item starts an update', () =>
  fc.assert(
    fc.property(versions, versions, (before, after) => {
      fc.pre(JSON.stringify(before) !== JSON.stringify(after));
      const decision = planUpdate({
        state: 'none',
        accepted: desired(before),
        wanted: desired(after),
        facts: settledFacts(before),
      });
      const isEqual = differingSections(desired(before), desired(after)).length === 0;
      expect(decision.do).toBe(isEqual ? 'nothing' : 'start');
    }),
  ));

describe('run requests', () => {
  const wanted = desired({ web: '2.0.0' });

  test('[CM-30] the wanted version is run as soon as it is on the unit', () => {
    const items = [itemStatus('web', '1.0.0'), itemStatus('web', '2.0.0', 'pending')];
    expect(runRequests(wanted, items).requests).toMatchObject([{ itemId: 'web', version: '2.0.0', ownerId: 'owner' }]);
  });

  test('[CM-24] a version that failed leaves the newest installed one in force, and says so', () => {
    const items = [itemStatus('web', '1.0.0'), itemStatus('web', '1.5.0'), itemStatus('web', '2.0.0', 'failed')];
    const { requests, remarks } = runRequests(wanted, items);
    expect(requests).toMatchObject([{ version: '1.5.0' }]);
    expect(remarks).toMatchObject([{ itemId: 'web', what: 'goes on with version 1.5.0' }]);
  });

  test('an instance of an item that is not desired is tried and explained', () => {
    const stray = { ...wanted, items: [] };
    const { requests, remarks } = runRequests(stray, []);
    expect(requests).toMatchObject([{ itemId: 'web', type: 'service', version: '', ownerId: '' }]);
    expect(remarks).toMatchObject([{ because: 'the desired items do not name it' }]);
  });

  test('an absent number is one for a service and one per runtime for a component', () => {
    const entry = { item: { id: 'web' }, subject: { id: 'subject' }, priority: 3, labels: ['x'] };
    const absent = { ...wanted, instances: [entry] };
    expect(runRequests(absent, []).requests).toMatchObject([{ numInstances: 1, priority: 3, labels: ['x'] }]);
    const items = [{ ...wanted.items[0]!, item: { id: 'web', type: 'component' as const } }];
    expect(runRequests({ ...absent, items }, []).requests).toMatchObject([{ numInstances: 0, type: 'component' }]);
  });
});
