import { beforeEach, expect, test } from 'vitest';
import { AosError, type Clock, silentLogger } from '../../core/index.ts';
import { CloudPresence } from './cloud-presence.ts';

const WALL_MS = Date.UTC(2026, 5, 1);

/** Time that passes when the test says so. */
class HandClock implements Clock {
  #nowMs = 0;
  #wall: number;
  #sleepers: { readonly untilMs: number; readonly wake: () => void; readonly signal: AbortSignal }[] = [];

  constructor(wallMs = WALL_MS) {
    this.#wall = wallMs;
  }

  monotonicMs = () => this.#nowMs;
  now = () => new Date(this.#wall + this.#nowMs);

  sleep(durationMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => this.#sleepers.push({ untilMs: this.#nowMs + durationMs, wake: resolve, signal }));
  }

  async pass(durationMs: number): Promise<void> {
    this.#nowMs += durationMs;
    const due = this.#sleepers.filter(({ untilMs, signal }) => untilMs <= this.#nowMs && !signal.aborted);
    this.#sleepers = this.#sleepers.filter((sleeper) => !due.includes(sleeper));
    for (const { wake } of due) wake();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

let stored: number | undefined;
let heard: (string | number)[];

function store(value: number | undefined): void {
  stored = value;
}

function presence(clock: Clock, set = store): CloudPresence {
  heard = [];
  return new CloudPresence({
    clock,
    logger: silentLogger,
    stored: { get: () => stored, set },
    onOffline: (sinceMs) => heard.push(sinceMs),
    onOnline: () => heard.push('online'),
  });
}

beforeEach(() => {
  stored = undefined;
});

test('[SM-43] offline counts from the moment the CM says that the cloud went, each event once', async () => {
  const clock = new HandClock();
  const cloud = presence(clock);
  cloud.setCloud(true);
  await clock.pass(5000);
  cloud.setCloud(false);
  cloud.setCloud(false);
  cloud.setCloud(true);
  expect(heard).toEqual(['online', 5000, 'online']);
});

test('a CM that says nothing for 30 s after the start counts as offline since the start', async () => {
  const clock = new HandClock();
  const cloud = presence(clock);
  cloud.start();
  await clock.pass(29_999);
  expect(cloud.state).toBe('unknown');
  await clock.pass(1);
  expect(heard).toEqual([0]);
});

test('a CM that is away for a minute counts as offline, one that comes back earlier does not', async () => {
  const clock = new HandClock();
  const cloud = presence(clock);
  cloud.setCloud(true);
  cloud.lostCm();
  await clock.pass(59_000);
  cloud.setCloud(true);
  await clock.pass(59_000);
  expect(heard).toEqual(['online']);
  cloud.lostCm();
  await clock.pass(60_000);
  expect(heard).toEqual(['online', 178_000]);
});

test('[SM-43] a CM that is tried in vain every few seconds is away all the same', async () => {
  const clock = new HandClock();
  const cloud = presence(clock);
  cloud.setCloud(true);
  for (let tried = 0; tried < 6; tried += 1) {
    cloud.lostCm();
    await clock.pass(10_000);
  }
  expect(heard).toEqual(['online', 60_000]);
});

test('[R-02] on a full disk the node knows as well that its cloud went and came back', async () => {
  const clock = new HandClock();
  stored = WALL_MS - 1000;
  const cloud = presence(clock, () => {
    throw new AosError('noMemory', 'not enough space');
  });
  cloud.setCloud(false);
  cloud.setCloud(true);
  await clock.pass(5000);
  // It is offline since now, although the moment of the last time could not be removed.
  cloud.setCloud(false);
  expect(heard).toEqual([-1000, 'online', 5000]);
});

test('[SM-43] a restart of the service manager does not restart the count', async () => {
  const first = new HandClock();
  presence(first).setCloud(false);
  const second = new HandClock(WALL_MS + 100_000);
  presence(second).setCloud(false);
  expect(heard).toEqual([-100_000]);
});

test('a wall clock that is not credible begins the count anew', () => {
  stored = WALL_MS;
  const clock = new HandClock(0);
  presence(clock).setCloud(false);
  expect(heard).toEqual([0]);
});
