/** What an update waits for: its release, room on the disk. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { AosError, type Clock, systemClock } from '../../core/index.ts';
import { desiredStatus } from './desired-for-tests.ts';
import { makeManager, manager, reaches, run, settled, storedState, unit } from './update-stage-for-tests.ts';
import { noRoom } from './update-unit-for-tests.ts';

describe('a disk without room', () => {
  /** Sleeps end when the test says so, the newest first. */
  const sleepers = new Set<() => void>();
  const tryAgain = () => {
    for (const wake of [...sleepers].reverse()) wake();
    sleepers.clear();
  };

  beforeEach(async () => {
    sleepers.clear();
    await manager.stop();
    unit.clock = {
      ...systemClock,
      sleep: (_, signal) =>
        new Promise((resolve, reject) => {
          sleepers.add(resolve);
          signal.addEventListener('abort', () => reject(new AosError('canceled', 'no more')), { once: true });
        }),
    };
    makeManager();
    manager.start();
  });

  const waits = () => unit.events.filter(({ what }) => what === 'waits for room on the disk');

  test('[R-02] [X-07] takes a desired status, which is acknowledged already, as soon as there is room', async () => {
    unit.diskIsFull = true;
    manager.acceptInTime(desiredStatus({ web: '1' }));
    await vi.waitFor(() => expect(waits()).toMatchObject([{ because: 'not enough space' }]));
    manager.acceptInTime(desiredStatus({ web: '2' }));
    unit.diskIsFull = false;
    tryAgain();
    await vi.waitFor(() => expect(unit.fullStatuses).toBe(1));
    expect(unit.calls, 'the newest only').toEqual(['download web@2', 'launch web@2', 'install']);
  });

  test('[R-02] [CM-22] holds an update up between two stages, and costs it nothing', async () => {
    unit.held.add('launch');
    manager.acceptInTime(desiredStatus({ web: '1' }));
    await reaches('launching');
    await manager.stop();
    unit.held.clear();
    unit.diskIsFull = true;
    makeManager();
    manager.start();
    await vi.waitFor(() => expect(waits()).toHaveLength(1));
    expect([manager.state.state, storedState()]).toEqual(['launching', 'launching']);
    unit.diskIsFull = false;
    tryAgain();
    await settled();
    expect(unit.calls).toEqual(['download web@1', 'launch web@1', 'launch web@1', 'install']);
    expect(unit.items).toMatchObject([{ state: 'installed' }]);
  });

  test.each(['download', 'launch', 'install'])(
    '[R-02] [X-07] holds up %s, which is done again when there is room',
    async (step) => {
      unit.failing.set(step, noRoom());
      manager.acceptInTime(desiredStatus({ web: '1' }));
      await vi.waitFor(() => expect(waits()).toMatchObject([{ because: 'not enough space' }]));
      expect(unit.fullStatuses).toBe(0);
      tryAgain();
      await vi.waitFor(() => expect(unit.calls.filter((call) => call.startsWith(step))).toHaveLength(2));
      unit.failing.clear();
      tryAgain();
      await vi.waitFor(() => expect(unit.fullStatuses).toBe(1));
      expect(unit.items).toMatchObject([{ state: 'installed' }]);
      expect(waits()).toHaveLength(1);
    },
  );

  test('[CM-23] holds up no newer desired status', async () => {
    unit.failing.set('launch', noRoom());
    manager.acceptInTime(desiredStatus({ web: '1' }));
    await vi.waitFor(() => expect(waits()).toHaveLength(1));
    unit.failing.clear();
    manager.acceptInTime(desiredStatus({ web: '2' }));
    await vi.waitFor(() => expect(unit.fullStatuses).toBe(1));
    expect(unit.calls.at(-2)).toBe('launch web@2');
  });
});

describe('instances that start', () => {
  /** One that ends each pause when the test says so. */
  let pauseEnds: () => void = () => undefined;
  const asked: number[] = [];
  const patience: Clock = {
    ...systemClock,
    sleep: (durationMs, signal) =>
      new Promise((resolve, reject) => {
        asked.push(durationMs);
        pauseEnds = resolve;
        signal.addEventListener('abort', () => reject(new AosError('canceled', 'no more')), { once: true });
      }),
  };

  beforeEach(async () => {
    asked.length = 0;
    await manager.stop();
    unit.clock = patience;
    unit.launchedAs = 'activating';
    makeManager();
    manager.start();
  });

  test('[CM-25] are waited for as long as something changes, at most ten minutes from one change to the next', async () => {
    manager.accept(desiredStatus({ web: '1' }));
    await vi.waitFor(() => expect(asked).toEqual([600_000]));
    const [first] = unit.instances;
    unit.instances = [first!, { ...first!, ident: { ...first!.ident, itemId: 'other' }, state: 'active' }];
    unit.allChange();
    await vi.waitFor(() => expect(asked).toEqual([600_000, 600_000]));
    pauseEnds();
    await vi.waitFor(() => expect(unit.fullStatuses).toBe(1));
    expect(unit.events.at(-1)).toMatchObject({ what: 'ended early, in activating' });
    expect(unit.calls, 'without its last stage').toEqual(['download web@1', 'launch web@1']);
    expect(unit.items).toMatchObject([{ state: 'pending' }]);
  });
});

describe('a release', () => {
  test('[P-20] is waited for when the downloads are done and before anything changes', async () => {
    let open: () => void = () => undefined;
    unit.gate = {
      untilOpen: (kinds) => {
        unit.calls.push(`wait ${kinds}`);
        return new Promise((resolve) => {
          open = resolve;
        });
      },
    };
    await manager.stop();
    makeManager();
    manager.start();
    manager.accept(desiredStatus({ web: '1' }, { unitConfig: { formatVersion: '7', version: '1.0.0', nodes: [] } }));
    await vi.waitFor(() => expect(unit.calls).toEqual(['download web@1', 'wait sota']));
    expect(manager.state.state).toBe('pending');
    open();
    await settled();
    expect(unit.calls).toEqual(['download web@1', 'wait sota', 'config', 'launch web@1', 'install']);
  });

  test('[P-20] is not waited for on the way back to a version that works', async () => {
    unit.updateRules.set('web 2', { rollback: true });
    unit.broken.add('web 2');
    unit.gate = { untilOpen: async () => void unit.calls.push('wait') };
    await manager.stop();
    makeManager();
    manager.start();
    await run(desiredStatus({ web: '1' }));
    unit.calls.length = 0;
    await run(desiredStatus({ web: '2' }));
    expect(unit.calls.filter((call) => call === 'wait')).toHaveLength(1);
    expect(unit.instances).toMatchObject([{ version: '1' }]);
  });

  test('[CM-32] that does not come in time ends the update, and what runs goes on', async () => {
    await run(desiredStatus({ web: '1' }));
    unit.gate = { untilOpen: () => Promise.reject(new AosError('timeout', 'the update was not released in time')) };
    await manager.stop();
    makeManager();
    manager.start();
    await run(desiredStatus({ web: '2' }));
    expect(unit.instances).toMatchObject([{ version: '1', state: 'active' }]);
    expect(unit.events.at(-1)).toMatchObject({ what: 'ended early, in pending' });
  });
});
