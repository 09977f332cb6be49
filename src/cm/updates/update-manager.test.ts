import { describe, expect, test, vi } from 'vitest';
import { AosError } from '../../core/index.ts';
import type { RefusedEntry } from '../../protocol/index.ts';
import { desiredStatus } from './desired-for-tests.ts';
import { reportedInstances, reportedItems } from './refusals.ts';
import { database, makeManager, manager, reaches, run, settled, storedState, unit } from './update-stage-for-tests.ts';

describe('an update', () => {
  test('[CM-21] goes through its stages in their order and ends with a full status', async () => {
    await run(desiredStatus({ web: '1' }));
    expect(unit.calls).toEqual(['download web@1', 'launch web@1', 'install']);
    expect(manager.state.state).toBe('none');
    expect(unit.items).toMatchObject([{ itemId: 'web', version: '1', state: 'installed' }]);
  });

  test('[R-12] an old message that comes once more is reported when it changes anything, also after a restart', async () => {
    const at = (minute: number) => ({ source: 'cloud', createdAt: `2026-05-04T10:${minute}:00.000000Z` }) as const;
    const older = () => unit.events.filter(({ what }) => what === 'obeys an older desired status');
    const say = async (version: string, minute: number) => {
      manager.accept(desiredStatus({ web: version }), [], at(minute));
      await settled();
    };
    await say('1', 10);
    await say('2', 20);
    await say('2', 11);
    expect(older()).toEqual([]);
    await say('1', 10);
    expect(older()).toMatchObject([{ because: expect.stringMatching(/at 2026-05-04T10:10.*another one at .*10:20/) }]);
    await say('3', 30);
    await manager.stop();
    makeManager();
    manager.start();
    await say('4', 40);
    expect(older()).toHaveLength(1);
    await say('3', 30);
    expect(older()).toHaveLength(2);
  });

  test('[CM-20] [B-08] the same desired status again costs no step, no event and no write', async () => {
    await run(desiredStatus({ web: '1' }));
    const calls = [...unit.calls];
    const events = unit.events.length;
    const { changes } = database.prepare('SELECT total_changes() AS changes').get() as { changes: number };
    manager.accept(desiredStatus({ web: '1' }));
    expect(unit.calls).toEqual(calls);
    expect(unit.events).toHaveLength(events);
    expect(database.prepare('SELECT total_changes() AS changes').get()).toEqual({ changes });
    expect(manager.state.state).toBe('none');
  });

  test('[CM-25] waits for instances that start before it finishes', async () => {
    unit.launchedAs = 'activating';
    manager.accept(desiredStatus({ web: '1' }));
    await reaches('activating');
    expect(unit.calls).not.toContain('install');
    unit.allBecome('active');
    await settled();
    expect(unit.calls).toContain('install');
  });

  test('[CM-25] an instance that failed does not hold it up', async () => {
    unit.launchedAs = 'activating';
    manager.accept(desiredStatus({ web: '1' }));
    await reaches('activating');
    unit.allBecome('failed');
    await settled();
    expect(unit.calls).toContain('install');
  });

  test('an error of a step ends it, with a reason and a full status', async () => {
    unit.failing.set('launch', new AosError('noMemory', 'no room for rows'));
    await run(desiredStatus({ web: '1' }));
    expect(storedState()).toBe('none');
    expect(unit.calls).not.toContain('install');
    expect(unit.events.at(-1)).toMatchObject({ what: 'ended early, in launching', because: 'no room for rows' });
  });
});

describe('nodes and configuration', () => {
  test('[CM-26] a node is paused or resumed when it is not yet so', async () => {
    await run(desiredStatus({}, { nodes: [{ item: { codename: 'main' }, state: 'paused' }] }));
    await run(desiredStatus({}, { nodes: [{ item: { codename: 'main' }, state: 'paused' }] }));
    expect(unit.calls.filter((call) => call === 'pause main')).toHaveLength(1);
    await run(desiredStatus({}, { nodes: [{ item: { codename: 'main' }, state: 'provisioned' }] }));
    expect(unit.nodeStates).toEqual({ main: 'provisioned' });
  });

  test('[CM-26] a node that refuses is reported and stops nothing', async () => {
    unit.failing.set('pause', new AosError('wrongState', 'not now'));
    await run(desiredStatus({ web: '1' }, { nodes: [{ item: { codename: 'main' }, state: 'paused' }] }));
    expect(unit.nodeErrors).toEqual({ main: 'not now' });
    expect(unit.calls).toContain('launch web@1');
  });

  test('[CM-97] the outcome of a unit configuration is told', async () => {
    await run(desiredStatus({}, { unitConfig: { formatVersion: '7', version: '2.0.0', nodes: [] } }));
    expect(unit.configOutcomes).toEqual([{ version: '2.0.0', state: 'installed' }]);
  });
});

describe('a newer desired status', () => {
  test.each(['download', 'launch', 'install'])(
    '[CM-23] [CM-53] ends a %s and starts over with the newest',
    async (step) => {
      unit.held.add(step);
      manager.accept(desiredStatus({ web: '1' }));
      await vi.waitFor(() => expect(unit.calls.some((call) => call.startsWith(step))).toBe(true));
      const before = unit.fullStatuses;
      manager.accept(desiredStatus({ web: '2' }));
      unit.held.clear();
      manager.accept(desiredStatus({ web: '3' }));
      await settled();
      expect(unit.items).toMatchObject([{ version: '3', state: 'installed' }]);
      expect(unit.instances).toMatchObject([{ version: '3' }]);
      // The run that was given up sends none.
      expect(unit.fullStatuses).toBe(before + 1);
    },
  );

  test('[CM-23] ends the wait for instances that never start', async () => {
    unit.launchedAs = 'activating';
    manager.accept(desiredStatus({ web: '1' }));
    await reaches('activating');
    unit.launchedAs = 'active';
    await run(desiredStatus({ web: '2' }));
    expect(unit.instances).toMatchObject([{ version: '2', state: 'active' }]);
  });
});

describe('a restart', () => {
  const steps = [
    ['download', 'downloading', ['download web@1', 'launch web@1', 'install']],
    ['config', 'installing', ['config', 'launch web@1', 'install']],
    ['launch', 'launching', ['launch web@1', 'install']],
    ['install', 'finalizing', ['install']],
  ] as const;
  const status = desiredStatus({ web: '1' }, { unitConfig: { formatVersion: '7', version: '1.0.0', nodes: [] } });

  test.each(steps)('[CM-22] [X-07] during %s goes on in the stage %s', async (step, state, rest) => {
    unit.held.add(step);
    manager.accept(status);
    await vi.waitFor(() => expect(unit.calls.some((call) => call.startsWith(step))).toBe(true));
    await manager.stop();
    expect(storedState()).toBe(state);
    unit.held.clear();
    unit.calls.length = 0;
    makeManager();
    manager.start();
    await vi.waitFor(() => expect(unit.fullStatuses).toBe(1));
    expect(unit.calls.filter((call) => rest.some((wanted) => wanted === call))).toEqual(rest);
    expect(unit.items).toMatchObject([{ version: '1', state: 'installed' }]);
  });

  test('[CM-22] while instances start waits for them, and does not finish without', async () => {
    unit.launchedAs = 'activating';
    manager.accept(desiredStatus({ web: '1' }));
    await reaches('activating');
    await manager.stop();
    expect(storedState()).toBe('activating');
    makeManager();
    manager.start();
    expect(unit.calls).not.toContain('install');
    unit.allBecome('active');
    await settled();
    expect(unit.calls).toContain('install');
  });

  test('[CM-22] between updates does nothing and remembers what was desired', async () => {
    await run(desiredStatus({ web: '1' }));
    await manager.stop();
    unit.calls.length = 0;
    makeManager();
    manager.start();
    manager.accept(desiredStatus({ web: '1' }));
    expect(unit.calls).toEqual([]);
    expect(manager.desired?.items).toHaveLength(1);
  });
});

describe('a version whose instances do not become active', () => {
  const goodThenBroken = async () => {
    unit.updateRules.set('web 2', { rollback: true });
    unit.broken.add('web 2');
    await run(desiredStatus({ web: '1' }));
    unit.calls.length = 0;
  };

  test('[P-19] is replaced by the former one when its author wants that, and is reported failed', async () => {
    await goodThenBroken();
    await run(desiredStatus({ web: '2' }));
    expect(unit.calls.filter((call) => call.startsWith('launch'))).toEqual(['launch web@2', 'launch web@1']);
    expect(unit.instances).toMatchObject([{ version: '1', state: 'active' }]);
    expect(unit.items).toMatchObject([
      { version: '1', state: 'installed' },
      { version: '2', state: 'failed', error: { aosCode: 7, message: 'start probe failed' } },
    ]);
    expect(unit.events).toContainEqual({
      about: { kind: 'item', id: 'web 2' },
      what: 'is rolled back to version 1',
      because: 'an instance of it did not become active: start probe failed: no answer within 1000 ms',
    });
  });

  test('[P-19] is not tried again by the same desired status, also after a restart, but by another version', async () => {
    await goodThenBroken();
    await run(desiredStatus({ web: '2' }));
    await manager.stop();
    makeManager();
    manager.start();
    unit.calls.length = 0;
    manager.accept(desiredStatus({ web: '2' }));
    expect(unit.calls).toEqual([]);
    await run(desiredStatus({ web: '3' }));
    expect(unit.instances).toMatchObject([{ version: '3', state: 'active' }]);
  });

  test('[P-19] [CM-22] is replaced also when the CM is killed on the way back', async () => {
    await goodThenBroken();
    unit.launchedAs = 'activating';
    unit.broken.clear();
    manager.accept(desiredStatus({ web: '2' }));
    await reaches('activating');
    unit.held.add('launch');
    unit.allBecome('failed');
    await vi.waitFor(() => expect(unit.calls.at(-1)).toBe('launch web@1'));
    await manager.stop();
    unit.held.clear();
    unit.launchedAs = 'active';
    makeManager();
    manager.start();
    await settled();
    expect(unit.instances).toMatchObject([{ version: '1', state: 'active' }]);
    expect(unit.items.find(({ version }) => version === '2')).toMatchObject({ state: 'failed' });
  });

  test('stays when its author does not ask for a way back', async () => {
    await goodThenBroken();
    unit.updateRules.clear();
    await run(desiredStatus({ web: '2' }));
    expect(unit.instances).toMatchObject([{ version: '2', state: 'failed' }]);
    expect(unit.items).toMatchObject([{ version: '2', state: 'installed' }]);
  });

  test('[P-19] stays when an instance has no place: that says nothing about the version', async () => {
    await goodThenBroken();
    unit.isPlaceless = true;
    await run(desiredStatus({ web: '2' }));
    expect(unit.instances).toMatchObject([{ version: '2', state: 'failed', nodeId: '' }]);
  });

  test('stays when there is nothing to go back to', async () => {
    unit.updateRules.set('web 2', { rollback: true });
    unit.broken.add('web 2');
    await run(desiredStatus({ web: '2' }));
    expect(unit.instances).toMatchObject([{ version: '2', state: 'failed' }]);
  });
});

test('watchers hear of every stage', async () => {
  const heard: string[] = [];
  manager.watch(({ state }) => heard.push(state));
  await run(desiredStatus({ web: '1' }));
  expect(heard).toEqual([
    'none',
    'downloading',
    'pending',
    'installing',
    'launching',
    'activating',
    'finalizing',
    'none',
  ]);
});

describe('an entry of the desired status that is refused', () => {
  const refusedItem: RefusedEntry = {
    list: 'items',
    index: 0,
    entry: { item: { id: 'web', type: 'service' }, version: '2' },
    id: 'web',
    version: '2',
    error: new AosError('invalidArgument', 'items[0].indexDigest: expected a digest, found nothing'),
  };

  test('[CM-28] [CM-34] is reported failed by its name, and what was said before stays in force', async () => {
    await run(desiredStatus({ web: '1' }));
    const before = unit.fullStatuses;
    const { instances = [] } = desiredStatus({ web: '1' });
    manager.accept(desiredStatus({ other: '1' }, { instances }), [refusedItem]);
    await vi.waitFor(() => expect(unit.fullStatuses).toBe(before + 1));
    expect(unit.items).toMatchObject([
      { itemId: 'web', version: '1', state: 'installed' },
      { itemId: 'other', version: '1', state: 'installed' },
    ]);
    expect(unit.instances).toMatchObject([{ version: '1' }]);
    expect(reportedItems(unit.items, manager.desired?.refusals).at(-1)).toMatchObject({
      itemId: 'web',
      version: '2',
      state: 'failed',
      error: { aosCode: 6 },
    });
  });

  test('is told at once when nothing else changes, once, and is remembered over a restart', async () => {
    await run(desiredStatus({ web: '1' }));
    const before = unit.fullStatuses;
    const { instances = [] } = desiredStatus({ web: '1' });
    const bad = desiredStatus({}, { instances });
    manager.accept(bad, [refusedItem]);
    manager.accept(bad, [refusedItem]);
    expect(unit.fullStatuses).toBe(before + 1);
    await manager.stop();
    makeManager();
    manager.start();
    expect(manager.desired?.refusals?.items).toMatchObject([{ itemId: 'web', version: '2' }]);
    await run(desiredStatus({ web: '2' }));
    expect(manager.desired?.refusals).toBeUndefined();
  });

  test('stands for an instance that cannot be made', async () => {
    const entry: RefusedEntry = {
      list: 'instances',
      index: 0,
      entry: { item: { id: 'new' }, subject: { id: 'subject' }, priority: -1 },
      id: 'new',
      error: new AosError('invalidArgument', 'instances[0].priority: expected a whole number of at least 0, found -1'),
    };
    manager.accept(desiredStatus({}), [entry]);
    expect(reportedInstances([], manager.desired?.refusals)).toMatchObject([
      {
        ident: { itemId: 'new', subjectId: 'subject', instance: 0 },
        nodeId: '',
        state: 'failed',
        error: { aosCode: 6 },
      },
    ]);
  });
});
