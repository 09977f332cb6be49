import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { digestOf, type ErrorInfo, type ItemState } from '../../core/index.ts';
import { type ItemRow, itemKey } from './item-rows.ts';
import { oldestRemoved, outdatedItems, planDownload, planInstall, type WantedItem } from './plan-items.ts';

const NOW = 1_000_000;

const item = (itemId: string, version: string): WantedItem => ({
  itemId,
  version,
  type: 'service',
  indexDigest: digestOf(`${itemId} ${version}`),
});
const row = (itemId: string, version: string, state: ItemState, changedAtMs = 0): ItemRow => ({
  ...item(itemId, version),
  state,
  changedAtMs,
});
const error: ErrorInfo = { aosCode: 10, exitCode: 0, message: 'damaged' };

/** The rows after the changes of a plan. */
function applied(rows: readonly ItemRow[], changes: ReturnType<typeof planInstall>): ItemRow[] {
  const byKey = new Map(rows.map((entry) => [itemKey(entry), entry]));
  for (const change of changes) {
    if ('put' in change) byKey.set(itemKey(change.put), change.put);
    else byKey.delete(itemKey(change.drop));
  }
  return [...byKey.values()];
}

describe('before the download', () => {
  test('[CM-53] what was being fetched and is no longer wanted goes', () => {
    const rows = [row('a', '1', 'downloading'), row('b', '1', 'pending'), row('c', '1', 'failed')];
    const { changes, fetch } = planDownload(rows, [], NOW);
    expect(applied(rows, [...changes])).toEqual([]);
    expect(fetch).toEqual([]);
  });

  test('[CM-29] what is installed stays until the end of the update', () => {
    const rows = [row('a', '1', 'installed')];
    expect(planDownload(rows, [item('a', '2')], NOW).changes).toMatchObject([{ put: { version: '2' } }]);
  });

  test('[CM-35] an item that was removed comes back under the same row', () => {
    const rows = [row('a', '1', 'removed', 5)];
    const { changes, fetch } = planDownload(rows, [item('a', '1')], NOW);
    expect(applied(rows, [...changes])).toMatchObject([{ version: '1', state: 'downloading' }]);
    expect(fetch).toHaveLength(1);
  });

  test('[CM-22] a download that a crash interrupted goes on without a write', () => {
    const { changes, fetch } = planDownload([row('a', '1', 'downloading', 5)], [item('a', '1')], NOW);
    expect(changes).toEqual([]);
    expect(fetch).toHaveLength(1);
  });

  test('another index under the same version is noticed and not taken', () => {
    const other = { ...item('a', '1'), indexDigest: digestOf('other') };
    const plan = planDownload([row('a', '1', 'installed')], [other], NOW);
    expect(plan.conflicting).toEqual([other]);
    expect(plan.verify).toMatchObject([{ indexDigest: item('a', '1').indexDigest }]);
  });
});

describe('a version that was tried in vain', () => {
  const rejected = { ...item('a', '2'), rejected: error };

  test('[P-19] is failed with its reason and not fetched, once', () => {
    const rows = [row('a', '1', 'installed'), row('a', '2', 'pending')];
    const plan = planDownload(rows, [rejected], NOW);
    expect(plan.fetch).toEqual([]);
    const after = applied(rows, [...plan.changes]);
    expect(after).toMatchObject([{ state: 'installed' }, { version: '2', state: 'failed', error }]);
    expect(planDownload(after, [rejected], NOW).changes).toEqual([]);
  });

  test('[P-19] stays failed at the end, and the former version stays installed', () => {
    const rows = [row('a', '1', 'installed'), { ...row('a', '2', 'failed'), error }];
    const facts = { unsound: new Map([[itemKey(rejected), error]]), isUsed: () => true, nowMs: NOW };
    expect(planInstall(rows, [rejected], facts)).toEqual([]);
  });
});

describe('at the end', () => {
  const facts = (unsound: readonly WantedItem[] = [], used: readonly string[] = []) => ({
    unsound: new Map(unsound.map((entry) => [itemKey(entry), error])),
    isUsed: (entry: ItemRow) => used.includes(`${entry.itemId} ${entry.version}`),
    nowMs: NOW,
  });

  test('[CM-30] the new version is installed and the old one removed, which keeps its blobs', () => {
    const rows = [row('a', '1', 'installed'), row('a', '2', 'pending')];
    expect(applied(rows, planInstall(rows, [item('a', '2')], facts()))).toMatchObject([
      { version: '1', state: 'removed', changedAtMs: NOW },
      { version: '2', state: 'installed' },
    ]);
  });

  test('[CM-24] a version that is not sound fails, and the old one stays', () => {
    const rows = [row('a', '1', 'installed'), row('a', '2', 'pending')];
    expect(applied(rows, planInstall(rows, [item('a', '2')], facts([item('a', '2')])))).toMatchObject([
      { version: '1', state: 'installed' },
      { version: '2', state: 'failed', error },
    ]);
  });

  test('an old version that an instance still uses stays', () => {
    const rows = [row('a', '1', 'installed'), row('a', '2', 'pending')];
    expect(applied(rows, planInstall(rows, [item('a', '2')], facts([], ['a 1'])))).toMatchObject([
      { state: 'installed' },
      { state: 'installed' },
    ]);
  });

  test('[CM-28] a failed download keeps the error that it failed with', () => {
    const rows = [{ ...row('a', '1', 'failed'), error }];
    expect(planInstall(rows, [item('a', '1')], facts([item('a', '1')]))).toEqual([]);
  });
});

test('[CM-52] removed items go when their time is over, not before', () => {
  const at = Date.UTC(2026, 0, 1);
  const rows = [
    row('a', '1', 'removed', at + 10),
    row('b', '1', 'removed', at + 90),
    row('c', '1', 'installed', at),
    // Removed while the clock had not been set yet.
    row('d', '1', 'removed', 10),
  ];
  expect(outdatedItems(rows, 50, at + 100).map(({ itemId }) => itemId)).toEqual(['a']);
});

test('[CM-51] the item that was removed first makes room first', () => {
  const rows = [row('a', '1', 'removed', 20), row('b', '1', 'removed', 10), row('c', '1', 'installed', 0)];
  expect(oldestRemoved(rows)?.itemId).toBe('b');
  expect(oldestRemoved([row('c', '1', 'installed')])).toBeUndefined();
});

const states = fc.constantFrom<ItemState>('downloading', 'pending', 'installed', 'removed', 'failed');
const names = fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('1', '2'));
const anyRows = fc
  .uniqueArray(fc.tuple(names, states), { selector: ([[id, version]]) => `${id} ${version}` })
  .map((entries) => entries.map(([[id, version], state]) => row(id, version, state)));
const anyWanted = fc
  .uniqueArray(names, { selector: ([id]) => id })
  .map((entries) => entries.map(([id, version]) => item(id, version)));

test('[CM-20] a finished update leaves exactly the wanted items installed, and planning it again changes nothing', () =>
  fc.assert(
    fc.property(anyRows, anyWanted, (rows, wanted) => {
      const facts = { unsound: new Map<string, ErrorInfo>(), isUsed: () => false, nowMs: NOW };
      const started = applied(rows, [...planDownload(rows, wanted, NOW).changes]);
      const finished = applied(started, planInstall(started, wanted, facts));
      const installed = finished.filter(({ state }) => state === 'installed').map(itemKey);
      expect(installed.sort()).toEqual(wanted.map(itemKey).sort());
      expect(planDownload(finished, wanted, NOW).changes).toEqual([]);
      expect(planInstall(finished, wanted, facts)).toEqual([]);
    }),
  ));

test('[CM-24] no plan removes the only sound version of a wanted item', () =>
  fc.assert(
    fc.property(anyRows, anyWanted, (rows, wanted) => {
      const facts = {
        unsound: new Map(wanted.map((entry) => [itemKey(entry), error])),
        isUsed: () => false,
        nowMs: NOW,
      };
      const started = applied(rows, [...planDownload(rows, wanted, NOW).changes]);
      const finished = applied(started, planInstall(started, wanted, facts));
      for (const before of rows) {
        const isReplaced = wanted.some(({ itemId, version }) => itemId === before.itemId && version !== before.version);
        if (before.state !== 'installed' || !isReplaced) continue;
        expect(finished.find((entry) => itemKey(entry) === itemKey(before))?.state).toBe('installed');
      }
    }),
  ));
