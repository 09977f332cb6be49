/** aos-sm as a process, with real containers: what a CM sees of a node, and what is on the host. */
import { readFile, rm } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startTimeOf } from '../../devenv/daemon-process.ts';
import { buildSm, SmNode } from './sm-node.ts';
import { until } from './until.ts';

const STORY_MS = 90_000;

let built: { readonly bundle: string; readonly directory: string };
let node: SmNode;

beforeAll(async () => {
  built = await buildSm();
}, STORY_MS);
afterAll(() => rm(built.directory, { recursive: true, force: true }));

beforeEach(async () => {
  node = await SmNode.create(built.bundle);
}, STORY_MS);
afterEach(() => node.close(), STORY_MS);

const isAlive = (pid: number | undefined) => pid !== undefined && startTimeOf(pid) !== undefined;

describe('instances', () => {
  test(
    '[SM-03] [SM-05] [SM-10] services are fetched, started, changed and stopped as the CM asks',
    async () => {
      await node.start();
      const { stream, states } = await node.introduced();
      expect(states).toEqual({});
      const one = await node.publish({ files: [{ name: 'version', content: 'one' }] });
      const two = await node.publish({ files: [{ name: 'version', content: 'two' }] });

      const [a, b] = [node.service('a', one), node.service('b', one)];
      expect(await node.update(stream, [a, b])).toEqual({ a: 'active', b: 'active' });
      const before = await node.pids();
      expect(await readFile(`/proc/${before.a}/root/version`, 'utf8')).toBe('one');

      const changed = { ...b, version: '2.0.0', digest: two };
      expect(await node.update(stream, [a, changed])).toEqual({ a: 'active', b: 'active' });
      const after = await node.pids();
      expect(after.a).toBe(before.a);
      expect(isAlive(before.b)).toBe(false);
      expect(await readFile(`/proc/${after.b}/root/version`, 'utf8')).toBe('two');

      expect(await node.update(stream, [], [a, changed])).toEqual({});
      expect(await node.instances()).toEqual([]);
      expect(isAlive(after.a) || isAlive(after.b)).toBe(false);
    },
    STORY_MS,
  );

  test(
    '[SM-42] [SM-61] the secret and the overrides of the CM are in its environment; IAM forgets it after the stop',
    async () => {
      await node.start();
      const { stream } = await node.introduced();
      const digest = await node.publish({ itemConfig: { permissions: { kuksa: { speed: 'r' } } } });
      const service = node.service('a', digest, { env: { COLOR: 'green' } });
      await node.update(stream, [service]);
      const { a } = await node.pids();
      const environment = async () => (await readFile(`/proc/${a}/environ`, 'utf8')).split('\0');
      // A container that has begun is its program a moment later.
      await expect.poll(environment, { timeout: STORY_MS }).toContain('AOS_SECRET=secret of a');
      expect(await environment()).toContain('COLOR=green');
      expect([...node.registered.keys()]).toEqual(['a']);
      await node.update(stream, [], [service]);
      expect([...node.registered.keys()]).toEqual([]);
    },
    STORY_MS,
  );

  test(
    'an item that the CM has no address for fails alone, with the reason; the next request tries again',
    async () => {
      await node.start();
      const { stream } = await node.introduced();
      const digest = await node.publish();
      const [good, bad] = [node.service('good', digest), node.service('bad', `sha256:${'0'.repeat(64)}`)];
      expect(await node.update(stream, [good, bad])).toEqual({ good: 'active', bad: 'failed' });
      expect(await node.update(stream, [good, { ...bad, digest }])).toEqual({ good: 'active', bad: 'active' });
    },
    STORY_MS,
  );
});

describe('the daemon ends', () => {
  test(
    '[SM-02] [SM-58] killed: containers go on, and the next start adopts them without the CM',
    async () => {
      await node.start();
      const { stream } = await node.introduced();
      const service = node.service('a', await node.publish());
      await node.update(stream, [service]);
      const { a } = await node.pids();
      await node.end('SIGKILL');
      expect(isAlive(a)).toBe(true);

      const comeBack = await node.cm.goAway();
      await node.start();
      await until(
        'it is adopted',
        () => node.pids(),
        (pids) => pids.a === a,
      );
      await comeBack();
      const again = await node.introduced();
      expect(again.states).toEqual({ a: 'active' });
      expect(await node.update(again.stream, [service])).toEqual({ a: 'active' });
      expect((await node.pids()).a).toBe(a);
    },
    STORY_MS,
  );

  test(
    '[SM-58] asked to stop: services stop, and start again with the next start',
    async () => {
      await node.start();
      const { stream } = await node.introduced();
      await node.update(stream, [node.service('a', await node.publish())]);
      const { a } = await node.pids();
      expect(await node.end('SIGTERM')).toBe(0);
      expect(isAlive(a)).toBe(false);
      await node.start();
      expect((await node.introduced()).states).toEqual({ a: 'active' });
    },
    STORY_MS,
  );
});

describe('killed at a write', () => {
  test.each([
    'sm.launcher.intend.before-commit',
    'sm.launcher.intend.committed',
    'sm.launcher.launching.committed',
    'sm.launcher.gone.before-commit',
  ])(
    '[X-07] [SM-58] %s: the next start and the repeated request bring the node to what the CM wants',
    async (point) => {
      await node.start();
      const first = await node.introduced();
      const [one, two] = [await node.publish(), await node.publish({ files: [{ name: 'two', content: '2' }] })];
      const [a, b, c] = [node.service('a', one), node.service('b', one), node.service('c', one)];
      await node.update(first.stream, [a, b]);
      const { a: steady } = await node.pids();
      await node.end('SIGKILL');

      await node.start({ AOS_FAULT: point });
      const second = await node.introduced();
      const wanted = [a, { ...c, version: '2.0.0', digest: two }];
      await expect(node.update(second.stream, wanted, [b])).rejects.toThrow();
      await node.untilEnd();

      await node.start();
      const third = await node.introduced();
      expect(await node.update(third.stream, wanted, [b])).toEqual({ a: 'active', c: 'active' });
      const running = await node.instances();
      expect(running.map(({ itemId, version }) => `${itemId} ${version}`).sort()).toEqual(['a 1.0.0', 'c 2.0.0']);
      expect((await node.pids()).a).toBe(steady);
    },
    STORY_MS,
  );
});
