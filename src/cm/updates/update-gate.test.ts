import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Clock, silentLogger, systemClock } from '../../core/index.ts';
import type { NewEvent } from '../events/index.ts';
import { ReleaseRule } from './release-rules.ts';
import { GATE_TABLES, UpdateGate } from './update-gate.ts';

let database: DatabaseSync;
let events: NewEvent[];
let offsetMs = 0;
let abort: AbortController;

const clock: Clock = { ...systemClock, now: () => new Date(Date.now() + offsetMs) };
const gate = (sota: object = {}, fota: object = {}, ttlMs?: number) =>
  new UpdateGate({
    database,
    rules: { sota: { ...ReleaseRule.parse(sota), ...(ttlMs && { ttlMs }) }, fota: ReleaseRule.parse(fota) },
    events: { record: (event) => events.push(event) },
    clock,
    logger: silentLogger,
  });
const LOCK = { owner: 'drive', reason: 'the car moves', duration: 3_600_000 };

beforeEach(() => {
  database = new DatabaseSync(':memory:');
  database.exec(GATE_TABLES);
  events = [];
  offsetMs = 0;
  abort = new AbortController();
});

afterEach(() => {
  abort.abort();
  database.close();
});

/** Waits at the gate; tells whether it is through. */
function wait(at: UpdateGate, kinds: readonly ('sota' | 'fota')[] = ['sota']) {
  const state = { through: false, error: undefined as unknown };
  at.untilOpen(kinds, abort.signal).then(
    () => {
      state.through = true;
    },
    (error: unknown) => {
      state.error = error;
    },
  );
  return state;
}

const waits = (at: UpdateGate) => vi.waitFor(() => expect(at.waitsBecause).toBeDefined());

describe('a lock', () => {
  test('[P-20] holds an update until its owner releases it, and both are told with their reason', async () => {
    const at = gate();
    at.lock(LOCK);
    const state = wait(at);
    await waits(at);
    expect(at.waitsBecause).toMatch(/drive holds a lock until .*: the car moves/);
    at.unlock('drive');
    await vi.waitFor(() => expect(state.through).toBe(true));
    expect(events.map(({ what }) => what.split(' until')[0])).toEqual([
      'locked by drive',
      'waits',
      'unlocked by drive',
    ]);
  });

  test('[P-20] survives a restart of the CM', () => {
    gate().lock(LOCK);
    expect(gate().locks()).toMatchObject([{ owner: 'drive', reason: 'the car moves' }]);
  });

  test('[P-20] ends by itself at its expiry', async () => {
    const at = gate();
    at.lock({ ...LOCK, duration: 30 });
    const state = wait(at);
    await waits(at);
    await vi.waitFor(() => expect(state.through).toBe(true));
    expect(at.locks()).toEqual([]);
  });

  test('[X-21] [P-20] is as long as was asked for, wherever the wall clock jumps meanwhile', async () => {
    const at = gate();
    at.lock(LOCK);
    const state = wait(at);
    await waits(at);
    for (const years of [30, -50, 20]) {
      offsetMs += years * 365 * 24 * 3_600_000;
      const [lock] = at.locks();
      expect(lock?.expiresAtMs).toBeGreaterThan(clock.now().getTime() + LOCK.duration - 600_000);
      expect(lock?.expiresAtMs).toBeLessThanOrEqual(clock.now().getTime() + LOCK.duration + 1000);
    }
    expect(state.through).toBe(false);
    at.unlock('drive');
    await vi.waitFor(() => expect(state.through).toBe(true));
  });

  test('that nobody holds cannot be released, and there are not endlessly many', () => {
    const at = gate();
    expect(() => at.unlock('drive')).toThrow('drive holds no lock');
    for (let owner = 0; owner < 16; owner += 1) at.lock({ ...LOCK, owner: `owner ${owner}` });
    expect(() => at.lock({ ...LOCK, owner: 'one more' })).toThrow('16 locks');
    at.lock({ ...LOCK, owner: 'owner 3', reason: 'another one' });
    expect(at.locks()).toHaveLength(16);
  });
});

describe('a trigger', () => {
  test('[CM-32] lets go on what waits, each kind for itself', async () => {
    const at = gate({ type: 'trigger' }, { type: 'trigger' });
    expect(() => at.release('sota', 'a person')).toThrow('no update waits');
    const state = wait(at, ['sota', 'fota']);
    await waits(at);
    at.release('sota', 'a person');
    await vi.waitFor(() => expect(at.waitsBecause).toMatch(/^fota/));
    expect(state.through).toBe(false);
    at.release('fota', 'a person');
    await vi.waitFor(() => expect(state.through).toBe(true));
  });

  test('[CM-32] counts for one update only', async () => {
    const at = gate({ type: 'trigger' });
    const first = wait(at);
    await waits(at);
    at.release('sota', 'a person');
    await vi.waitFor(() => expect(first.through).toBe(true));
    const second = wait(at);
    await waits(at);
    expect(second.through).toBe(false);
  });

  test('[CM-32] that does not come within the time to live ends the wait', async () => {
    const state = wait(gate({ type: 'trigger' }, {}, 30));
    await vi.waitFor(() => expect(state.error).toMatchObject({ code: 'timeout' }));
  });

  test('[R-03] [X-21] is waited for in peace while the wall clock jumps', async () => {
    const at = gate({ type: 'trigger', ttl: '1h' });
    const state = wait(at);
    await waits(at);
    offsetMs = 50 * 365 * 24 * 3_600_000;
    at.lock({ ...LOCK, duration: 1000 });
    at.unlock('drive');
    await waits(at);
    expect(state).toEqual({ through: false, error: undefined });
  });
});

test('a wait ends at once when the CM stops', async () => {
  const at = gate({ type: 'trigger' });
  const state = wait(at);
  await waits(at);
  abort.abort();
  await vi.waitFor(() => expect(state.error).toMatchObject({ code: 'canceled' }));
  expect(at.waitsBecause).toBeUndefined();
});
