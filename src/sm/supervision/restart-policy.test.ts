import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { planRestart, type RunHistory, type RunParameters, recordRestart } from './restart-policy.ts';

const DEFAULTS: RunParameters = { startIntervalMs: 5000, startBurst: 3, restartIntervalMs: 1000 };

/** Plays a service that lives equally long each time; answers the times of its restarts, and whether it was given up. */
function play(parameters: RunParameters, uptimeMs: number, most = 50): { restarts: number[]; gaveUp: boolean } {
  let history: RunHistory = { restartsAtMs: [] };
  const restarts: number[] = [];
  let nowMs = 0;
  while (restarts.length < most) {
    nowMs += uptimeMs;
    const decision = planRestart(parameters, history, nowMs, uptimeMs);
    if (decision.do === 'giveUp') return { restarts, gaveUp: true };
    nowMs += decision.pauseMs;
    restarts.push(nowMs);
    history = recordRestart(history, nowMs, decision.pauseMs);
  }
  return { restarts, gaveUp: false };
}

describe('with the defaults', () => {
  test('[SM-15] a service that ends at once is restarted after 1, 2 and 3 s, then given up', () => {
    expect(play(DEFAULTS, 0)).toEqual({ restarts: [1000, 2000, 3000], gaveUp: true });
  });

  test.each([2000, 6000])('[SM-15] a service that lives %d ms is restarted for ever', (uptimeMs) => {
    expect(play(DEFAULTS, uptimeMs)).toMatchObject({ gaveUp: false });
  });

  test('the reason counts the restarts', () => {
    const decision = planRestart(DEFAULTS, { restartsAtMs: [100, 200, 300] }, 400, 10);
    expect(decision).toEqual({ do: 'giveUp', restarts: 3, because: '3 restarts within 5000 ms are the limit' });
  });
});

describe('without a limit', () => {
  const unlimited = { ...DEFAULTS, startBurst: 0 };
  const pauses = (uptimeMs: number) => {
    const { restarts } = play(unlimited, uptimeMs, 9);
    return restarts.map((at, index) => at - (restarts[index - 1] ?? 0) - uptimeMs);
  };

  test('the pause doubles up to a minute while runs are short', () => {
    expect(pauses(0)).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
  });

  test('the pause falls back after a long run', () => {
    expect(pauses(6000)).toEqual(Array(9).fill(1000));
    const history: RunHistory = { restartsAtMs: [], lastPauseMs: 32_000 };
    expect(planRestart(unlimited, history, 0, 5000)).toMatchObject({ pauseMs: 1000 });
  });
});

const parameters = fc.record({
  startIntervalMs: fc.nat(100_000),
  startBurst: fc.integer({ min: -3, max: 20 }),
  restartIntervalMs: fc.nat(200_000),
});
const restartsAtMs = fc.array(fc.nat(100_000), { maxLength: 30 });

test('a pause is never shorter than 100 ms, whatever the item asks for', () =>
  fc.assert(
    fc.property(parameters, restartsAtMs, fc.nat(60_000), fc.nat(100_000), (run, at, lastPauseMs, uptimeMs) => {
      const decision = planRestart(run, { restartsAtMs: at, lastPauseMs }, 100_000, uptimeMs);
      if (decision.do === 'restart')
        expect(decision.pauseMs).toBeGreaterThanOrEqual(Math.max(100, run.restartIntervalMs));
    }),
  ));

test('no window of the interval ever holds more restarts than the burst', () =>
  fc.assert(
    fc.property(parameters, fc.nat(10_000), (run, uptimeMs) => {
      fc.pre(run.startBurst > 0);
      const { restarts } = play(run, uptimeMs);
      for (const end of restarts) {
        const inside = restarts.filter((at) => at <= end && end - at < run.startIntervalMs);
        expect(inside.length).toBeLessThanOrEqual(run.startBurst + 1);
      }
    }),
  ));

test('without a limit nothing is ever given up', () =>
  fc.assert(
    fc.property(parameters, restartsAtMs, fc.nat(100_000), (run, at, uptimeMs) => {
      const decision = planRestart({ ...run, startBurst: -run.startBurst }, { restartsAtMs: at }, 100_000, uptimeMs);
      fc.pre(run.startBurst >= 0);
      expect(decision.do).toBe('restart');
    }),
  ));
