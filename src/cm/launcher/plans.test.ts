import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { InstanceIdent } from '../../core/index.ts';
import type { RunRequest } from '../model.ts';
import type { ReportedInstance } from '../nodes/index.ts';
import { planCache } from './cache.ts';
import { dropExpired, envVarsOf } from './env-overrides.ts';
import { type Formed, type FormInput, formInstances, sortRequests } from './form-instances.ts';
import { IdPool } from './id-pool.ts';
import { type InstanceRow, rowKey } from './instance-row.ts';
import { needsUpdate, planUpdate } from './plan-requests.ts';
import { testRow } from './row-for-tests.ts';
import { request } from './unit-for-tests.ts';

const NOW_MS = Date.UTC(2026, 0, 1);

function ident(itemId: string, instance = 0): InstanceIdent {
  return { itemId, subjectId: 'subject', instance, type: 'service', preinstalled: false };
}

function form(requests: readonly RunRequest[], rows: readonly InstanceRow[], more: Partial<FormInput> = {}): Formed {
  return formInstances({
    requests,
    rows,
    subjects: undefined,
    nodes: [],
    facts: () => ({ manifests: [] }),
    ids: () => ({ uid: 5000, gid: 5000 }),
    check: () => undefined,
    nowMs: NOW_MS,
    ...more,
  });
}

/** What is stored after a round that placed nothing. */
function storedRows({ active, inactive }: Formed): InstanceRow[] {
  return [...active, ...inactive];
}

const requests = fc.uniqueArray(
  fc.record({
    itemId: fc.constantFrom('a', 'b', 'c'),
    version: fc.constantFrom('1.0.0', '2.0.0'),
    count: fc.integer({ min: 0, max: 3 }),
    priority: fc.integer({ min: 0, max: 2 }),
  }),
  { selector: ({ itemId }) => itemId, maxLength: 3 },
);

const toRequests = (list: readonly { itemId: string; version: string; count: number; priority: number }[]) =>
  sortRequests(list.map(({ itemId, version, count, priority }) => request(itemId, version, count, { priority })));

describe('forming', () => {
  test('[X-13] [CM-72] a request for more instances than there can be fails alone, the others run', () => {
    const { active, unformed } = form([request('huge', '1', Number.MAX_SAFE_INTEGER), request('web', '1', 2)], []);
    expect(active.map((one) => one.ident.itemId)).toEqual(['web', 'web']);
    expect(unformed).toMatchObject([
      {
        ident: { itemId: 'huge', instance: 0 },
        error: { aosCode: 3, message: expect.stringMatching(/room for 5000/) },
      },
    ]);
  });

  test('[X-13] the unit is filled to its last instance, and not further', () => {
    const { active, unformed } = form([request('full', '1', 5000), request('more', '1', 1)], []);
    expect(active).toHaveLength(5000);
    expect(unformed).toMatchObject([{ ident: { itemId: 'more' } }]);
  });

  test('[CM-60] instances stand in the order of priority, then of item ids', () => {
    const sorted = sortRequests([
      request('b', '1', 1, { priority: 1 }),
      request('a', '1', 1, { priority: 1 }),
      request('c', '1', 1, { priority: 9 }),
    ]);
    expect(form(sorted, []).active.map((one) => one.ident.itemId)).toEqual(['c', 'a', 'b']);
  });

  test('forming twice forms the same, and no instance is ever lost or doubled', () => {
    fc.assert(
      fc.property(requests, requests, (first, second) => {
        const before = storedRows(form(toRequests(first), []));
        const formed = form(toRequests(second), before);
        const rows = storedRows(formed);
        expect(storedRows(form(toRequests(second), rows))).toEqual(rows);
        expect(new Set(rows.map(rowKey)).size).toBe(rows.length);
        for (const one of before) expect(rows.map(rowKey)).toContain(rowKey(one));
        const count = second.reduce((sum, one) => sum + one.count, 0);
        expect(formed.active.length).toBe(count);
      }),
    );
  });

  test('an instance that changes its labels or priority keeps its ids and its place', () => {
    const old = testRow('a', { uid: 5123 });
    const [changed] = form([request('a', '1.0.0', 1, { labels: ['x'], priority: 7 })], [old]).active;
    expect(changed).toEqual({ ...old, labels: ['x'], priority: 7 });
  });

  test('what is cached is stamped when that happens, and once', () => {
    const old = testRow('a', { stampedAtMs: 1 });
    const [cached] = form([], [old]).inactive;
    expect(cached).toMatchObject({ state: 'cached', nodeId: '', prevNodeId: 'main', stampedAtMs: NOW_MS });
    const [still] = form([], [cached!], { nowMs: NOW_MS + 1000 }).inactive;
    expect(still).toEqual(cached);
  });

  test('an instance that cannot be created is left out with its error, its stored data kept', () => {
    const refuse = () => {
      throw new Error('uid 5000 is not free');
    };
    const formed = form([request('a', '1.0.0')], [testRow('a')], { check: refuse });
    expect(formed.active).toEqual([]);
    expect(formed.unformed).toMatchObject([{ error: { message: 'uid 5000 is not free' } }]);
    expect(formed.inactive).toHaveLength(1);
  });
});

describe('ids', () => {
  test('[CM-78] equal keys share an id, different ones never do, and what the host uses is left alone', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ maxLength: 2 })),
        fc.uniqueArray(fc.integer({ min: 0, max: 20 })),
        (keys, host) => {
          const pool = new IdPool({ first: 0, last: 500, isTaken: (id) => host.includes(id), what: 'uid' });
          const ids = new Map(keys.map((key) => [key, pool.get(key)]));
          for (const key of keys) expect(pool.get(key)).toBe(ids.get(key));
          expect(new Set(ids.values()).size).toBe(ids.size);
          for (const id of ids.values()) expect(host).not.toContain(id);
        },
      ),
    );
  });

  test('[CM-78] an id is held for the key that had it, and refused to another', () => {
    const pool = new IdPool({ first: 5000, last: 5002, isTaken: () => false, what: 'uid' });
    expect(pool.hold('a', 5001)).toBe(true);
    expect(pool.hold('b', 5001)).toBe(false);
    expect(pool.hold('b', 4999)).toBe(false);
    expect([pool.get('b'), pool.get('a'), pool.get('c')]).toEqual([5000, 5001, 5002]);
    expect(() => pool.get('d')).toThrow('no free uid between 5000 and 5002');
  });
});

describe('what a node is told', () => {
  const reported = (itemId: string, more: Partial<ReportedInstance> = {}): ReportedInstance => ({
    ident: ident(itemId),
    version: '1.0.0',
    runtimeId: 'runc@main',
    manifestDigest: 'sha256:m',
    state: 'active',
    envVars: [],
    ...more,
  });

  test('[CM-80] everything that shall run is listed, what must not is stopped, preinstalled ones are let be', () => {
    const pre = reported('rootfs', { ident: { ...ident('rootfs'), type: 'component', preinstalled: true } });
    const update = planUpdate({
      rows: [testRow('a'), testRow('b')],
      reported: [reported('a'), reported('c'), pre],
      envVars: () => [],
    });
    expect(update.start.map((info) => info.ident.itemId)).toEqual(['a', 'b']);
    expect(update.stop.map(({ itemId }) => itemId)).toEqual(['c']);
  });

  test('a node that runs what it shall is not told again; another version, place or number is', () => {
    const needs = (rows: readonly InstanceRow[], list: readonly ReportedInstance[]) =>
      needsUpdate({ rows, reported: list, envVars: () => [] });
    expect(needs([testRow('a')], [reported('a', { state: 'failed' })])).toBe(false);
    expect(needs([testRow('a')], [reported('a', { version: '2.0.0' })])).toBe(true);
    expect(needs([testRow('a')], [reported('a', { runtimeId: 'crun@main' })])).toBe(true);
    expect(needs([testRow('a')], [])).toBe(true);
    expect(needs([], [reported('a')])).toBe(true);
    expect(needs([], [reported('a', { state: 'inactive' })])).toBe(false);
  });

  test('[CM-81] a node with overridden variables, or that should have some, is told again: it tells no values', () => {
    const plan = { rows: [testRow('a')], reported: [reported('a')], envVars: () => [] };
    expect(needsUpdate(plan)).toBe(false);
    expect(needsUpdate({ ...plan, envVars: () => [{ name: 'A', value: '1' }] })).toBe(true);
    expect(needsUpdate({ ...plan, reported: [reported('a', { envVars: [{ name: 'A' }] })] })).toBe(true);
  });
});

describe('the cache', () => {
  const DAY_MS = 86_400_000;
  const cached = (itemId: string, ageMs: number) => testRow(itemId, { state: 'cached', stampedAtMs: NOW_MS - ageMs });

  test('[CM-79] what is older than the TTL goes', () => {
    const { kept, removed } = planCache([cached('a', DAY_MS), cached('b', 0)], 0, { nowMs: NOW_MS, ttlMs: DAY_MS });
    expect([kept.length, removed.map((one) => one.ident.itemId)]).toEqual([1, ['a']]);
  });

  test('[CM-79] when there are too many the oldest go, and only as many as must', () => {
    const rows = [cached('new', 1), cached('oldest', 3), cached('old', 2)];
    const { removed } = planCache(rows, 4999, { nowMs: NOW_MS, ttlMs: Number.POSITIVE_INFINITY });
    expect(removed.map((one) => one.ident.itemId)).toEqual(['oldest', 'old']);
  });

  test('a clock that is at 1970, or was, makes nothing expire', () => {
    const ttl = { ttlMs: DAY_MS };
    expect(planCache([cached('a', DAY_MS * 2)], 0, { nowMs: 0, ...ttl }).removed).toEqual([]);
    const lied = testRow('a', { state: 'cached', stampedAtMs: 1000 });
    const { kept, removed } = planCache([lied], 0, { nowMs: NOW_MS, ...ttl });
    expect([kept[0]!.stampedAtMs, removed.length]).toEqual([NOW_MS, 0]);
  });
});

describe('overridden variables', () => {
  test('[CM-81] each given member of a filter must match, and the last value wins', () => {
    const overrides = [
      { filter: {}, variables: [{ name: 'A', value: 'all' }] },
      { filter: { itemId: 'a', instance: 1 }, variables: [{ name: 'A', value: 'one' }] },
      { filter: { subjectId: 'other' }, variables: [{ name: 'B', value: 'x' }] },
    ];
    expect(envVarsOf(ident('a', 1), overrides)).toEqual([{ name: 'A', value: 'one' }]);
    expect(envVarsOf(ident('a', 0), overrides)).toEqual([{ name: 'A', value: 'all' }]);
  });

  test('[CM-81] expired variables vanish, and entries that are left without any', () => {
    const gone = { name: 'A', value: '1', ttlMs: NOW_MS - 1 };
    const stays = { name: 'B', value: '2', ttlMs: NOW_MS };
    expect(
      dropExpired(
        [
          { filter: {}, variables: [gone, stays] },
          { filter: {}, variables: [gone] },
        ],
        NOW_MS,
      ),
    ).toEqual([{ filter: {}, variables: [stays] }]);
  });
});
