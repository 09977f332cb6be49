import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { count, isSamePeriod, newRow, TRAFFIC_PERIODS, type TrafficRow } from './traffic-count.ts';

const NOON = Date.UTC(2026, 2, 4, 12, 30, 30);
const SECOND = 1000;

/** The row after each reading: what the counter said, and when. */
function follow(readings: readonly (readonly [counter: number, atMs: number])[], limit?: number): TrafficRow[] {
  let row = newRow('in_a', readings[0]?.[1] ?? NOON);
  return readings.map(([counter, nowMs]) => {
    row = count(row, counter, { nowMs, period: 'day', limit });
    return row;
  });
}

describe('[SM-38] the period', () => {
  test.each([
    ['minute', 29 * SECOND, 30 * SECOND],
    ['hour', (29 * 60 + 29) * SECOND, (29 * 60 + 30) * SECOND],
    ['day', ((11 * 60 + 29) * 60 + 29) * SECOND, ((11 * 60 + 29) * 60 + 30) * SECOND],
    ['month', Date.UTC(2026, 2, 31, 23, 59, 59) - NOON, Date.UTC(2026, 3, 1) - NOON],
    ['year', Date.UTC(2026, 11, 31, 23, 59, 59) - NOON, Date.UTC(2027, 0, 1) - NOON],
  ] as const)('%s lasts to its last second in UTC, and not one longer', (period, lastMs, nextMs) => {
    expect([lastMs, nextMs].map((ms) => isSamePeriod(NOON, NOON + ms, period))).toEqual([true, false]);
    const before = { ...newRow('in_a', NOON), bytes: 11, counter: 11, isBlocked: true };
    expect(count(before, 15, { nowMs: NOON + lastMs, period, limit: 10 })).toMatchObject({
      bytes: 15,
      isBlocked: true,
    });
    expect(count(before, 15, { nowMs: NOON + nextMs, period, limit: 10 })).toMatchObject({
      bytes: 0,
      isBlocked: false,
    });
  });

  test('is no other one because a clock stands before it was ever set, and begins anew when the date is known', () => {
    const unset = Date.UTC(1970, 0, 1, 0, 1);
    const rows = follow([
      [10, NOON],
      [25, unset],
      [30, unset + 2 * 86_400_000],
      [40, NOON + SECOND],
    ]);
    expect(rows.map(({ bytes }) => bytes)).toEqual([10, 25, 30, 40]);
    // Days may have passed while nobody knew: the date tells.
    expect(
      follow([
        [10, NOON],
        [25, unset],
        [30, NOON + 86_400_000],
      ]).at(-1),
    ).toMatchObject({ bytes: 0 });
  });
});

describe('[SM-38] a counter', () => {
  test('that went back, or wrapped, is a new one: what it says was not counted before', () => {
    const rows = follow([
      [1000, NOON],
      [200, NOON + 1],
      [250, NOON + 2],
      [0, NOON + 3],
    ]);
    expect(rows.map(({ bytes }) => bytes)).toEqual([1000, 1200, 1250, 1250]);
  });

  test('closes its direction above the limit, not at it; a higher limit, or none, opens it', () => {
    const [at, above] = follow(
      [
        [100, NOON],
        [101, NOON + 1],
      ],
      100,
    );
    expect([at!.isBlocked, above!.isBlocked]).toEqual([false, true]);
    const next = (limit?: number) => count(above!, 101, { nowMs: NOON + 2, period: 'day', limit }).isBlocked;
    expect([next(100), next(200), next(0), next()]).toEqual([true, false, false, false]);
  });

  test('whatever it says and however the clock jumps, bytes are never negative and a period counts nothing twice', () => {
    const readings = fc.array(fc.tuple(fc.nat(1e9), fc.integer({ min: 0, max: 2 * NOON })), { minLength: 1 });
    fc.assert(
      fc.property(readings, fc.constantFrom(...TRAFFIC_PERIODS), fc.option(fc.nat(1e9)), (all, period, limit) => {
        let row = newRow('in_a', all[0]![1]);
        for (const [counter, nowMs] of all) {
          const next = count(row, counter, { nowMs, period, limit: limit ?? undefined });
          const fresh = counter >= row.counter ? counter - row.counter : counter;
          expect([0, row.bytes + fresh]).toContain(next.bytes);
          if (next.isBlocked) expect(next.bytes).toBeGreaterThanOrEqual(limit ?? Number.POSITIVE_INFINITY);
          row = next;
        }
      }),
    );
  });
});
