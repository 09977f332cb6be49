import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NORMAL, type RuleState, stepRule } from './alert-rule.ts';
import { type Averages, addSample, averageOf, windowOf } from './average.ts';
import { instanceThresholds, nodeThresholds } from './rules.ts';

const sample = (cpu: number, partitions: Record<string, number> = {}) => ({
  ...{ cpu, ram: cpu, download: 0, upload: 0 },
  partitions,
});

describe('averages', () => {
  function feed(values: readonly number[], window: number): number {
    let averages: Averages | undefined;
    for (const value of values) averages = addSample(averages, sample(value), window);
    return averageOf(averages!).cpu;
  }

  test('[SM-50] a window of one is the newest value, a window of three moves by a third', () => {
    expect(feed([10, 20, 31], 1)).toBe(31);
    expect(feed([30, 60], 3)).toBe(40);
    expect(feed([30, 60, 60], 3)).toBe(47);
  });

  test('a steady value is its own average, whatever the window', () =>
    fc.assert(
      fc.property(
        fc.nat(1_000_000),
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 20 }),
        (value, window, n) => {
          expect(
            feed(
              Array.from({ length: n }, () => value),
              window,
            ),
          ).toBe(value);
        },
      ),
    ));

  test('the window is at least one poll', () => {
    expect(windowOf(35_000, 35_000)).toBe(1);
    expect(windowOf(10_000, 35_000)).toBe(1);
    expect(windowOf(100_000, 35_000)).toBe(2);
  });

  test('a partition that comes later begins with its own value', () => {
    const first = addSample(undefined, sample(0), 4);
    expect(averageOf(addSample(first, sample(0, { data: 400 }), 4)).partitions.data).toBe(175);
  });
});

describe('alert rules', () => {
  const rule = { minTimeoutMs: 10, min: 70, max: 80 };

  function told(values: readonly [value: number, atMs: number][], of = rule): string[] {
    let state: RuleState = NORMAL;
    return values.flatMap(([value, atMs]) => {
      const step = stepRule(of, state, value, atMs);
      state = step.state;
      return step.status ? [`${step.status} ${atMs}`] : [];
    });
  }

  test('[SM-51] raised after the time above the upper threshold, continued, fallen after the time below the lower', () => {
    expect(
      told([
        [85, 0],
        [85, 5],
        [85, 10],
        [75, 15],
        [75, 20],
        [60, 25],
        [60, 30],
        [60, 35],
        [85, 40],
      ]),
    ).toEqual(['raise 10', 'continue 20', 'fall 35']);
  });

  test('[SM-51] a value between the thresholds neither raises nor ends an alert', () => {
    expect(
      told([
        [75, 0],
        [75, 100],
      ]),
    ).toEqual([]);
    expect(
      told([
        [85, 0],
        [85, 10],
        [60, 12],
        [75, 14],
        [60, 16],
        [60, 20],
      ]),
    ).toEqual(['raise 10']);
  });

  test('without a time the first sample raises, and a fall needs two', () => {
    expect(
      told(
        [
          [85, 0],
          [60, 1],
          [60, 2],
        ],
        { ...rule, minTimeoutMs: 0 },
      ),
    ).toEqual(['raise 0', 'fall 2']);
  });

  /** Any values at any distances, against any rule. */
  const stories = fc.tuple(
    fc.array(fc.tuple(fc.oneof(fc.nat(100), fc.constant(Number.NaN)), fc.nat(20)), { maxLength: 60 }),
    fc.record({ minTimeoutMs: fc.nat(40), min: fc.nat(70), max: fc.integer({ min: 70, max: 100 }) }),
  );

  interface Told {
    readonly status: string | undefined;
    readonly value: number;
    readonly atMs: number;
  }

  function follow(samples: readonly (readonly [number, number])[], of: typeof rule): Told[] {
    let state: RuleState = NORMAL;
    let atMs = 0;
    return samples.map(([value, afterMs]) => {
      atMs += afterMs;
      const step = stepRule(of, state, value, atMs);
      state = step.state;
      return { status: step.status, value, atMs };
    });
  }

  test('[SM-51] alerts of one rule are raise, any number of continue, fall, and again', () =>
    fc.assert(
      fc.property(stories, ([samples, of]) => {
        const kinds = follow(samples, of).map(({ status }) => status?.[0] ?? '');
        expect(kinds.join('')).toMatch(/^(rc*f)*(rc*)?$/);
      }),
    ));

  test('[SM-51] raised only after a whole time at or above the upper threshold', () =>
    fc.assert(
      fc.property(stories, ([samples, of]) => {
        const steps = follow(samples, of).filter(({ value }) => !Number.isNaN(value));
        for (const [index, { status, atMs }] of steps.entries()) {
          if (status !== 'raise') continue;
          const before = steps.slice(0, index + 1);
          const high = before.slice(before.findLastIndex(({ value }) => value < of.max) + 1);
          expect(atMs - high[0]!.atMs).toBeGreaterThanOrEqual(of.minTimeoutMs);
        }
      }),
    ));

  test('[SM-51] fallen only after a whole time, and two samples, below the lower threshold', () =>
    fc.assert(
      fc.property(stories, ([samples, of]) => {
        const steps = follow(samples, of).filter(({ value }) => !Number.isNaN(value));
        for (const [index, { status, atMs }] of steps.entries()) {
          if (status !== 'fall') continue;
          const before = steps.slice(0, index + 1);
          const low = before.slice(before.findLastIndex(({ value }) => value >= of.min) + 1);
          expect(low.length).toBeGreaterThan(1);
          expect(atMs - low[0]!.atMs).toBeGreaterThanOrEqual(of.minTimeoutMs);
        }
      }),
    ));

  test('[SM-51] a value that dances between the thresholds tells nothing before an alert, and does not end one', () =>
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 70, max: 79 }), fc.nat(20))), fc.boolean(), (dance, alert) => {
        const before: [number, number][] = alert ? [[90, 0]] : [];
        const of = { ...rule, minTimeoutMs: alert ? 0 : 10 };
        const kinds = new Set(follow([...before, ...dance], of).map(({ status }) => status));
        expect(kinds.has('fall')).toBe(false);
        if (!alert) expect([...kinds].filter(Boolean)).toEqual([]);
      }),
    ));

  test('what the alerts say at most: one in the time of the rule, apart from the fall', () =>
    fc.assert(
      fc.property(stories, ([samples, of]) => {
        const times = follow(samples, of).flatMap(({ status, atMs }) => (status && status !== 'fall' ? [atMs] : []));
        for (const [index, atMs] of times.entries()) {
          if (index > 0) expect(atMs - times[index - 1]!).toBeGreaterThanOrEqual(of.minTimeoutMs);
        }
      }),
    ));

  const node = {
    maxDmips: 10_000,
    totalRam: 1000,
    partitions: [{ name: 'data', types: [], path: '/', totalSize: 500 }],
  };

  test('[SM-62] percentages are of the node, cut to whole numbers; a partition that it does not have has no rule', () => {
    const percent = { minTimeoutMs: 1, minThreshold: 33.3, maxThreshold: 50 };
    const found = nodeThresholds(
      {
        cpu: percent,
        download: percent,
        partitions: [
          { name: 'data', ...percent },
          { name: 'none', ...percent },
        ],
      },
      node,
    );
    expect(Object.fromEntries(found)).toEqual({
      cpu: { minTimeoutMs: 1, min: 3330, max: 5000 },
      download: { minTimeoutMs: 1, min: 33.3, max: 50 },
      'partition data': { minTimeoutMs: 1, min: 166, max: 250 },
    });
  });

  test('thresholds in the wrong order are one threshold', () => {
    const cpu = { minTimeoutMs: 1, minThreshold: 60, maxThreshold: 50 };
    expect(nodeThresholds({ cpu, partitions: [] }, node).get('cpu')).toMatchObject({ min: 5000, max: 5000 });
  });

  test('[SM-52] percentages of an instance are of the node too', () => {
    const cpu = { durationMs: 5, minThreshold: 10, maxThreshold: 20 };
    expect(instanceThresholds({ cpu, partitions: [] }, node).get('cpu')).toEqual({
      minTimeoutMs: 5,
      min: 1000,
      max: 2000,
    });
  });
});
