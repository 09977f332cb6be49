/** Instances that wait for others (spec/beyond.md P-22). */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AosError } from '../../core/index.ts';
import { ItemConfig } from '../../oci/index.ts';
import type { InstanceInfo } from '../model.ts';
import {
  type Dependency,
  findCircles,
  type NeighbourFacts,
  readDependencies,
  versionFits,
  waitsOf,
  whyWait,
} from './dependencies.ts';
import { anInstance, anItem, Host } from './instances-for-tests.ts';
import type { Launcher } from './launcher.ts';

const { signal } = new AbortController();

const on = (codename: string, condition?: string) => ({ identity: { codename }, ...(condition && { condition }) });

/** A node whose items depend on others like this. */
async function nodeWith(
  dependencies: Record<string, readonly unknown[]>,
  host = new Host(),
): Promise<{ host: Host; launcher: Launcher }> {
  for (const [itemId, list] of Object.entries(dependencies)) {
    host.items.set(itemId, anItem(itemId, { itemConfig: ItemConfig.parse({ dependencies: list }) }));
  }
  const launcher = host.launcher();
  launcher.start();
  await launcher.settled(5000, signal);
  return { host, launcher };
}

const update = (launcher: Launcher, start: readonly InstanceInfo[], stop: readonly InstanceInfo[] = []) =>
  launcher.update({ start, stop: stop.map(({ ident }) => ident) }, signal);

const statusOf = (launcher: Launcher, itemId: string) => launcher.board.get(anInstance(itemId).ident)?.status;

describe('starts', () => {
  test.each(['started', 'healthy', 'after'])(
    '[P-22] come in the order of their dependencies: %s',
    async (condition) => {
      const { host, launcher } = await nodeWith({ app: [on('broker', condition)], broker: [on('base', condition)] });
      await update(
        launcher,
        ['app', 'broker', 'base', 'other'].map((itemId) => anInstance(itemId)),
      );
      const order = host.log.filter((line) => !line.includes('other'));
      expect(order).toEqual(['start base 1.0.0', 'start broker 1.0.0', 'start app 1.0.0']);
    },
  );

  test('[P-22] an item may name those that it comes before', async () => {
    const { host, launcher } = await nodeWith({ broker: [on('app', 'before')] });
    await update(launcher, [anInstance('app'), anInstance('broker')]);
    expect(host.log).toEqual(['start broker 1.0.0', 'start app 1.0.0']);
  });

  test('[P-22] one that waits for the end of another starts when that has done its work', async () => {
    const { host, launcher } = await nodeWith({ app: [on('job', 'completed')] });
    const [app, job] = [anInstance('app'), anInstance('job')];
    const done = update(launcher, [app, job]);
    await expect.poll(() => statusOf(launcher, 'job')?.state).toBe('active');
    expect(host.log).toEqual(['start job 1.0.0']);
    expect(statusOf(launcher, 'app')?.state).toBe('activating');
    host.tell({ ident: job.ident, state: 'inactive', because: 'it has done its work', milestone: 'completed' });
    await done;
    expect(host.log).toEqual(['start job 1.0.0', 'start app 1.0.0']);
  });

  test('[P-22] what does not come in time fails the instance with the reason, and starts it when it comes', async () => {
    const host = new Host();
    let nowMs = 0;
    // Every wait is over at once.
    const sleep = async (ms: number) => {
      nowMs += ms;
    };
    host.clock = { now: () => new Date(), monotonicMs: () => nowMs, sleep };
    host.failing.set('start broker', new AosError('runtime', 'it does not start'));
    const { launcher } = await nodeWith({ app: [on('broker', 'healthy')] }, host);
    const broker = anInstance('broker');
    void update(launcher, [anInstance('app'), broker]);
    await expect.poll(() => statusOf(launcher, 'app')?.error?.aosCode).toBe(7);
    expect(statusOf(launcher, 'app')?.error?.message).toMatch(/^broker is not healthy: /);
    host.tell({ ident: broker.ident, state: 'active', because: 'it was restarted' });
    await expect.poll(() => statusOf(launcher, 'app')?.state).toBe('active');
  });

  test('[P-22] a circle and a version that does not fit are told by name, the others start', async () => {
    const { host, launcher } = await nodeWith({
      a: [on('b')],
      b: [on('a')],
      c: [{ identity: { codename: 'd' }, condition: 'sooner' }],
    });
    await update(
      launcher,
      ['a', 'b', 'c', 'd'].map((itemId) => anInstance(itemId)),
    );
    expect(host.running()).toEqual(['d 1.0.0']);
    expect(statusOf(launcher, 'a')?.error?.message).toBe('dependencies form a circle: a → b → a');
    expect(statusOf(launcher, 'c')?.error?.message).toMatch(/condition.*expected started/);
  });

  test('an item that is not on this node is not waited for', async () => {
    const { host, launcher } = await nodeWith({ app: [on('elsewhere', 'healthy')] });
    await update(launcher, [anInstance('app')]);
    expect(host.running()).toEqual(['app 1.0.0']);
  });
});

describe('what is waited for', () => {
  const facts: NeighbourFacts = {
    ...{ version: '1.2.0', state: 'activating', because: 'it is being started' },
    ...{ hasStarted: false, hasCompleted: false, isPending: false },
  };
  const wait = (more: Partial<Dependency>): Dependency => ({
    itemId: 'x',
    condition: 'started',
    includePreRelease: false,
    ...more,
  });

  test.each<[Dependency['condition'], Partial<NeighbourFacts>, boolean]>([
    ['started', {}, false],
    ['started', { hasStarted: true }, true],
    ['started', { state: 'active' }, true],
    ['started', { state: 'failed' }, false],
    ['healthy', { hasStarted: true }, false],
    ['healthy', { state: 'active' }, true],
    ['completed', { state: 'active', hasStarted: true }, false],
    ['completed', { state: 'inactive', hasCompleted: true }, true],
    ['after', { isPending: true }, false],
    ['after', { state: 'failed' }, true],
    ['before', { isPending: true }, true],
  ])('%s, %j: may start %s', (condition, more, may) => {
    expect(whyWait(wait({ condition }), [{ ...facts, ...more }]) === undefined).toBe(may);
  });

  test.each([
    ['1.2.0', '>=1.0.0,<2.0.0', true],
    ['2.0.0', '>=1.0.0,<2.0.0', false],
    ['1.2.0-rc.1', '>=1.0.0', false],
    ['1.2.0', '1.2.0', true],
    ['1.2.0', '=1.2.1', false],
    ['1.2.0', '>1.2.0', false],
    ['1.2.0', '<=1.2.0', true],
    ['none', '>=1.0.0', false],
  ])('version %s, wanted %s: %s', (version, versions, fits) => {
    expect(versionFits(version, { versions, includePreRelease: false })).toBe(fits);
  });

  test('layers are no matter of the start; nonsense is refused by its place', () => {
    expect(readDependencies([{ identity: { codename: 'base', type: 'layer' } }])).toEqual([]);
    expect(readDependencies(undefined)).toEqual([]);
    for (const bad of [[{}], [{ identity: {} }], [{ identity: { id: 'x' }, versions: 'new' }], 'x']) {
      expect(() => readDependencies(bad)).toThrow(/dependencies/);
    }
  });

  test('whatever the graph is: without the items of circles, an order of starts exists', () =>
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(5), fc.nat(5)), { maxLength: 12 }), (edges) => {
        const own = new Map<string, Dependency[]>(Array.from({ length: 6 }, (_, index) => [`${index}`, []]));
        for (const [from, to] of edges) own.get(`${from}`)?.push(wait({ itemId: `${to}` }));
        const waits = waitsOf(own);
        const circles = findCircles(waits);
        const left = new Set([...own.keys()].filter((itemId) => !circles.has(itemId)));
        // Starts in rounds: whoever waits for nobody that is left.
        for (let before = -1; before !== left.size; ) {
          before = left.size;
          for (const itemId of left) {
            if ((waits.get(itemId) ?? []).every((dependency) => !left.has(dependency.itemId))) left.delete(itemId);
          }
        }
        expect([...left]).toEqual([]);
      }),
    ));
});
