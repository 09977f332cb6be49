import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ReportedInstances, ReportedItem, UnitStatus } from '../../protocol/index.ts';
import { EMPTY_PICTURE, mergeUnitStatus, type UnitPicture } from './unit-picture.ts';

const item = (id: string, version: string, state: ReportedItem['state'] = 'installed'): ReportedItem => ({
  item: { id, type: 'service' },
  version,
  state,
});

const group = (
  id: string,
  version: string,
  states: Readonly<Record<number, 'active' | 'failed' | 'inactive'>>,
): ReportedInstances => ({
  item: { id, type: 'service' },
  subject: { id: 's' },
  version,
  instances: Object.entries(states).map(([instance, state]) => ({
    node: { codename: 'main' },
    runtime: { codename: 'r' },
    instance: Number(instance),
    state,
  })),
});

const full = (parts: Partial<UnitStatus>): UnitStatus => ({ messageType: 'unitStatus', isDeltaInfo: false, ...parts });
const delta = (parts: Partial<UnitStatus>): UnitStatus => ({ messageType: 'unitStatus', isDeltaInfo: true, ...parts });

const node = (codename: string, isConnected: boolean) =>
  ({
    identity: { codename },
    nodeGroupSubject: { codename: 'type' },
    ...{ maxDmips: 1, totalRam: 1, osInfo: { os: 'linux' }, state: 'provisioned', isConnected },
  }) as NonNullable<UnitStatus['nodes']>[number];

describe('mergeUnitStatus', () => {
  test('a full status replaces everything, also sections that it leaves out', () => {
    const before = mergeUnitStatus(EMPTY_PICTURE, full({ items: [item('a', '1.0.0')], subjects: [{ codename: 'x' }] }));
    expect(mergeUnitStatus(before, full({ items: [item('b', '1.0.0')] }))).toEqual({
      ...{ items: [item('b', '1.0.0')], nodes: [], instances: [], subjects: [], unitConfig: [] },
    });
  });

  test('a delta changes what it names and leaves the rest', () => {
    const before = mergeUnitStatus(
      EMPTY_PICTURE,
      full({ nodes: [node('a', true), node('b', true)], items: [item('x', '1.0.0')] }),
    );
    const after = mergeUnitStatus(before, delta({ nodes: [node('b', false)] }));
    expect(after.nodes).toEqual([node('a', true), node('b', false)]);
    expect(after.items).toEqual(before.items);
  });

  test('two versions of an item stand side by side, and a removed one goes', () => {
    const both = mergeUnitStatus(
      EMPTY_PICTURE,
      full({ items: [item('x', '1.0.0'), item('x', '2.0.0', 'downloading')] }),
    );
    expect(both.items).toHaveLength(2);
    const after = mergeUnitStatus(both, delta({ items: [item('x', '1.0.0', 'removed'), item('x', '2.0.0')] }));
    expect(after.items).toEqual([item('x', '2.0.0')]);
  });

  test('instances of one group change one by one', () => {
    const before = mergeUnitStatus(
      EMPTY_PICTURE,
      full({ instances: [group('x', '1.0.0', { 0: 'active', 1: 'active' })] }),
    );
    const after = mergeUnitStatus(before, delta({ instances: [group('x', '1.0.0', { 1: 'failed' })] }));
    expect(after.instances).toEqual([group('x', '1.0.0', { 0: 'active', 1: 'failed' })]);
  });

  test('a refused unit configuration stands beside the installed one', () => {
    const installed = { version: '1.0.0', state: 'installed' as const };
    const failed = { version: '0.9.0', state: 'failed' as const };
    const before = mergeUnitStatus(EMPTY_PICTURE, full({ unitConfig: [installed] }));
    expect(mergeUnitStatus(before, delta({ unitConfig: [failed] })).unitConfig).toEqual([installed, failed]);
    const newer = { version: '1.1.0', state: 'installed' as const };
    expect(mergeUnitStatus(before, delta({ unitConfig: [newer] })).unitConfig).toEqual([newer]);
  });

  test('the same status again changes nothing', () => {
    const items = fc.array(
      fc.record({
        item: fc.record({ id: fc.constantFrom('a', 'b', 'c') }),
        version: fc.constantFrom('1.0.0', '2.0.0'),
        state: fc.constantFrom<ReportedItem['state']>('installed', 'removed', 'failed', 'pending'),
      }),
    );
    const status = fc.record({ messageType: fc.constant('unitStatus' as const), isDeltaInfo: fc.boolean(), items });
    fc.assert(
      fc.property(fc.array(status, { maxLength: 5 }), status, (past, last) => {
        const picture = past.reduce<UnitPicture>((before, next) => mergeUnitStatus(before, next), EMPTY_PICTURE);
        const once = mergeUnitStatus(picture, last);
        expect(mergeUnitStatus(once, last)).toEqual(once);
      }),
    );
  });
});
