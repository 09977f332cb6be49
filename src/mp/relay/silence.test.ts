import { expect, test } from 'vitest';
import { AosError, type Clock, throwIfCanceled } from '../../core/index.ts';
import { SilenceWatch } from './silence.ts';

const MINUTE_MS = 60_000;

/** Time that passes when the test says so. */
function stage() {
  let nowMs = 0;
  let arrivedMs = 0;
  const sleepers = new Set<{ readonly untilMs: number; readonly wake: () => void }>();
  const over = new AbortController();
  const ended: AosError[] = [];
  const clock: Clock = {
    now: () => new Date(0),
    monotonicMs: () => nowMs,
    sleep: async (durationMs, signal) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const one = { untilMs: nowMs + durationMs, wake: resolve };
      sleepers.add(one);
      signal.addEventListener('abort', () => resolve(), { once: true });
      await promise;
      sleepers.delete(one);
      throwIfCanceled(signal);
    },
  };
  const connection = {
    get silentMs() {
      return nowMs - arrivedMs;
    },
    close: (reason: AosError) => void ended.push(reason),
  };
  const watch = new SilenceWatch({ connection, clock, signal: over.signal });
  return {
    ended,
    sleepers,
    over,
    arrive: () => {
      arrivedMs = nowMs;
    },
    ask: () => {
      arrivedMs = nowMs;
      watch.asked();
    },
    pass: async (durationMs: number) => {
      nowMs += durationMs;
      for (const one of sleepers) if (one.untilMs <= nowMs) one.wake();
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

test('[MP-11] [R-05] a peer that asks each minute and then says nothing is gone after two and a half', async () => {
  const { ask, pass, ended } = stage();
  for (let minute = 0; minute < 5; minute += 1) {
    ask();
    await pass(MINUTE_MS);
  }
  await pass(MINUTE_MS);
  expect(ended).toEqual([]);
  await pass(MINUTE_MS);
  await pass(MINUTE_MS);
  expect(ended).toMatchObject([{ code: 'timeout', message: 'nothing has come from the peer for 180 s' }]);
});

test('[MP-11] whatever comes is a sign of life', async () => {
  const { ask, arrive, pass, ended } = stage();
  ask();
  await pass(MINUTE_MS);
  ask();
  for (let minute = 0; minute < 10; minute += 1) {
    await pass(2 * MINUTE_MS);
    arrive();
  }
  expect(ended).toEqual([]);
});

test.each([
  ['asked once', [0]],
  ['asked on two channels at the beginning', [0, 200, 300]],
])('[MP-11] a peer that has only %s may be silent for ever', async (_, pausesMs) => {
  const { ask, pass, ended, sleepers } = stage();
  for (const pauseMs of pausesMs) {
    await pass(pauseMs);
    ask();
  }
  await pass(100 * MINUTE_MS);
  expect([ended, sleepers.size]).toEqual([[], 0]);
});

test('[MP-11] a peer that asks every five minutes is given the time for it', async () => {
  const { ask, pass, ended } = stage();
  for (let count = 0; count < 4; count += 1) {
    ask();
    await pass(5 * MINUTE_MS);
  }
  expect(ended).toEqual([]);
});

test('nothing waits any more when the connection has ended', async () => {
  const { ask, pass, over, ended, sleepers } = stage();
  ask();
  await pass(MINUTE_MS);
  ask();
  over.abort(new AosError('canceled', 'over'));
  await pass(100 * MINUTE_MS);
  expect([ended, sleepers.size]).toEqual([[], 0]);
});
