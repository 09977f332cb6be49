/** Updates of a whole unit: held up, rolled back, broken off at every durable write, and taken up again. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { PlanReport, UnitReport, WhyReport } from '../../src/daemon/index.ts';
import { noise } from './image.ts';
import { World } from './world.ts';

const STORY_MS = 120_000;

/** Ids of instances, and with them names of cgroups and namespaces, come from ids of items: none of another run. */
const tag = randomBytes(3).toString('hex');
const [STEADY, SHAKY, HELD, OTHER, PICKY, MOVING] = ['steady', 'shaky', 'held', 'other', 'picky', 'moving'].map(
  (name) => `${name}-${tag}`,
) as [string, string, string, string, string, string];

let world: World;

const json = async <T>(...args: string[]) => JSON.parse(await world.must('--json', ...args)) as T;
const told = ({ reasons }: WhyReport) => reasons.map(({ what, because }) => `${what}: ${because ?? ''}`).join('\n');

beforeAll(async () => {
  // What a restarted CM learns of its nodes reaches the cloud without the pause of a device.
  world = await World.create({ unit: { config: { cm: { unitStatusSendTimeout: '100ms' } } } });
  await world.provision();
  await world.publishBusybox(STEADY, '1.0.0');
  await world.deploy(STEADY, '1.0.0');
}, STORY_MS);

afterAll(() => world?.close(), STORY_MS);

describe('a version that does not work', () => {
  test(
    '[P-19] goes back to the former one by itself; both are reported, and people are told why',
    async () => {
      const rollback = { update: { rollback: true } };
      const broken = {
        ...rollback,
        probes: { start: { exec: ['/bin/false'], interval: '100ms', startTimeout: '1s' } },
      };
      await world.publishBusybox(SHAKY, '1.0.0', rollback);
      await world.deploy(SHAKY, '1.0.0');
      await world.publishBusybox(SHAKY, '2.0.0', broken);
      await world.wish(SHAKY, '2.0.0');
      await world.untilCloud('version 2 is reported failed', ({ items = [] }) =>
        items.some(({ item, version, state }) => item.id === SHAKY && version === '2.0.0' && state === 'failed'),
      );
      await world.untilActive(SHAKY, '1.0.0');
      expect(await world.versionOf(SHAKY)).toBe(`${SHAKY} 1.0.0`);
      expect(told(await json('why', SHAKY))).toMatch(/is rolled back to version 1\.0\.0: .*probe/);

      await world.publishBusybox(SHAKY, '3.0.0', rollback);
      await world.deploy(SHAKY, '3.0.0');
      expect(await world.versionOf(SHAKY)).toBe(`${SHAKY} 3.0.0`);
      await world.must('undeploy', SHAKY, '--unit', world.systemId, '--wait', '60');
    },
    STORY_MS,
  );
});

describe('a lock', () => {
  // A lock left by a failure would hold up every later story.
  afterEach(() => world.ctl('update', 'unlock', '--owner', 'drive'));

  test(
    '[P-20] [P-11] holds an update up after its downloads; the plan says what then happens',
    async () => {
      await world.publishBusybox(HELD, '1.0.0');
      await world.deploy(HELD, '1.0.0');
      const pid = await world.pidOf(HELD);
      await world.must('update', 'lock', '--owner', 'drive', '--reason', 'the car moves', '--for', '1h');
      await world.publishBusybox(HELD, '2.0.0');
      await world.publishBusybox(OTHER, '1.0.0');
      await world.wish(HELD, '2.0.0');
      await world.wish(OTHER, '1.0.0');
      const report = await world.untilUnit(
        'both are downloaded and wait',
        ({ update, items }) =>
          update.waitsFor !== undefined && items.filter(({ state }) => state === 'pending').length === 2,
      );
      expect(report.update).toMatchObject({ state: 'pending', locks: [{ owner: 'drive', reason: 'the car moves' }] });
      expect(await world.pidOf(HELD)).toBe(pid);
      expect(told(await json('why', `${HELD}/default/0`))).toMatch(
        /an update is pending: drive holds a lock .*the car moves/,
      );

      // A lock outlives its CM.
      await world.unit.supervisor.daemon('aos-cm').kill('SIGKILL');
      await world.untilUnit(
        'it waits again, and its node is back',
        ({ update, nodes }) => update.waitsFor !== undefined && nodes.some(({ connected }) => connected),
      );

      const plan = await json<PlanReport>('plan');
      expect(plan.download).toEqual([]);
      const planned = plan.instances.map((one) => `${one.do} ${one.name} ${one.version} ${one.nodeId}`).sort();
      expect(planned).toEqual([
        `keep ${STEADY}/default/0 1.0.0 main`,
        `start ${OTHER}/default/0 1.0.0 main`,
        `update ${HELD}/default/0 2.0.0 main`,
      ]);
      await world.must('update', 'unlock', '--owner', 'drive');
      await world.untilActive(HELD, '2.0.0');
      await world.untilActive(OTHER, '1.0.0');
      const { instances } = await json<UnitReport>('status');
      expect(instances.map(({ itemId, version, nodeId }) => `${itemId} ${version} ${nodeId}`).sort()).toEqual(
        plan.instances.map(({ name, version, nodeId }) => `${name.split('/')[0]} ${version} ${nodeId}`).sort(),
      );
      for (const item of [HELD, OTHER]) {
        await world.must('undeploy', item, '--unit', world.systemId, '--wait', '60');
      }
    },
    STORY_MS,
  );
});

describe('why', () => {
  test(
    '[P-03] an instance that no node can take: each node with its reason',
    async () => {
      await world.publishBusybox(PICKY, '1.0.0', { runtimes: [{ codename: 'vm' }] });
      await world.wish(PICKY, '1.0.0');
      await world.untilCloud('it is reported failed', ({ instances = [] }) =>
        instances.some((group) => group.item.id === PICKY && group.instances[0]?.state === 'failed'),
      );
      const report = await json<WhyReport>('why', `${PICKY}/default/0`);
      expect(report.now).toBe('version 1.0.0 is failed');
      expect(told(report)).toMatch(/not on main.*: .*vm/);
      await world.must('undeploy', PICKY, '--unit', world.systemId, '--wait', '60');
    },
    STORY_MS,
  );
});

test(
  '[X-08] without its cloud a unit goes on, also through restarts of its daemons, and is online by itself later',
  async () => {
    const steady = await world.pidOf(STEADY);
    await world.cloud.goAway();
    try {
      for (const daemon of ['aos-cm', 'aos-sm', 'aos-iam'] as const) {
        const { supervisor } = world.unit;
        const since = supervisor.history.length;
        await supervisor.daemon(daemon).kill('SIGKILL');
        await supervisor.waitFor(({ kind, program }) => kind === 'ready' && program === daemon, 30_000, since);
      }
      const report = await world.untilUnit('its node is connected, its cloud is not', ({ nodes, cloud }) => {
        return nodes.some(({ connected }) => connected) && cloud.state !== 'connected';
      });
      expect(report.items).toContainEqual(expect.objectContaining({ itemId: STEADY, state: 'installed' }));
      expect(await world.pidOf(STEADY)).toBe(steady);
    } finally {
      await world.cloud.comeBack();
    }
    await world.untilCloud('it is online', ({ online }) => online);
    await world.untilActive(STEADY, '1.0.0');
    expect(await world.pidOf(STEADY)).toBe(steady);
  },
  STORY_MS,
);

/** Every durable write on the way of an update; `#n`: the n-th passage. */
const POINTS = [
  ...['accept', 'pending', 'installing', 'launching', 'activating', 'finalizing', 'none'].flatMap((stage) => [
    `cm.update.${stage}.before-commit`,
    `cm.update.${stage}.committed`,
  ]),
  ...['download', 'fetched', 'install'].flatMap((step) => [
    `cm.images.${step}.before-commit`,
    `cm.images.${step}.committed`,
  ]),
  'launcher.save.before-commit',
  'launcher.save.committed',
  'storage.blob.written',
  'storage.blob.renamed',
  'storage.blob.renamed#3',
  'storage.download-note.written',
  'storage.download-note.renamed',
  'network.hosts.written',
];

describe('a CM that is killed', () => {
  let version = 0;

  test.each(POINTS)(
    '[X-07] [CM-22] [R-01] at %s finishes the update after its restart, and what runs goes on',
    async (point) => {
      const steady = await world.pidOf(STEADY);
      version += 1;
      const wanted = `1.${version}.0`;
      await world.publishBusybox(MOVING, wanted, {}, 300_000);
      const daemon = world.unit.supervisor.daemon('aos-cm');
      const since = world.unit.supervisor.history.length;
      // The environment is read at each start of the process.
      const env = daemon.spec.env as Record<string, string>;
      env.AOS_FAULT = point;
      await daemon.kill('SIGKILL');
      // Some writes are passed before it is ready.
      await world.wish(MOVING, wanted);
      const died = await world.unit.supervisor.waitFor(
        (event) => event.kind === 'exited' && event.program === 'aos-cm' && event.pid !== firstPid(since),
        30_000,
        since,
      );
      delete env.AOS_FAULT;
      expect(died).toMatchObject({ how: 'SIGKILL' });
      // Should it have been started once more with the fault, it ends now.
      await daemon.kill('SIGKILL');
      await world.unit.supervisor.untilReady('aos-cm');
      await world.untilActive(MOVING, wanted);
      expect(await world.versionOf(MOVING)).toBe(`${MOVING} ${wanted}`);
      expect(await world.pidOf(STEADY)).toBe(steady);
      const report = await world.untilUnit('the update has ended', ({ update }) => update.state === 'none');
      expect(report.items.filter(({ itemId }) => itemId === MOVING)).toMatchObject([
        { version: wanted, state: 'installed' },
      ]);
    },
    STORY_MS,
  );

  /** The process that the test itself has ended first. */
  function firstPid(since: number): number | undefined {
    return world.unit.supervisor.history
      .slice(since)
      .find(({ kind, program }) => kind === 'exited' && program === 'aos-cm')?.pid;
  }
});

describe('a CM that lost its database', () => {
  const database = () => join(world.unit.layout.var, 'workdirs', 'cm', 'aos-cm.db');

  /** Writes noise over the pages of the file. */
  async function damage(): Promise<void> {
    for (const suffix of ['', '-wal']) {
      if (!existsSync(database() + suffix)) continue;
      const file = await open(database() + suffix, 'r+');
      try {
        const { size } = await file.stat();
        await file.write(noise(size, 7), 0, size, 0);
      } finally {
        await file.close();
      }
    }
  }

  test(
    '[R-04] sets it aside, leaves alone what runs, and is as before after the next desired status, without a download',
    async () => {
      const daemon = world.unit.supervisor.daemon('aos-cm');
      const steady = await world.pidOf(STEADY);
      const before = await world.unit.status();
      const blobs = () =>
        execFileSync(
          'find',
          [join(world.unit.layout.var, 'workdirs', 'cm'), '-path', '*blobs*', '-type', 'f', '-printf', '%f %i\n'],
          { encoding: 'utf8' },
        )
          .split('\n')
          .sort();
      const blobsBefore = blobs();
      await daemon.stop('SIGKILL');
      await damage();
      await daemon.start();
      await world.unit.supervisor.untilReady('aos-cm');
      await world.untilUnit('it is connected again', ({ cloud }) => cloud.state === 'connected');
      expect(await world.pidOf(STEADY)).toBe(steady);
      await world.rest.send('POST', `/api/units/${world.systemId}/resend`);
      const summary = ({ items, instances }: UnitReport) =>
        JSON.stringify([
          items.map(({ itemId, version, state }) => [itemId, version, state]).sort(),
          instances.map(({ itemId, version, state, nodeId }) => [itemId, version, state, nodeId]).sort(),
        ]);
      await world.untilUnit('all is as before', (report) => summary(report) === summary(before));
      expect(await world.pidOf(STEADY)).toBe(steady);
      // The same files, by inode: nothing was fetched. What only the lost rows kept for a roll-back may be gone.
      expect(blobs().filter((blob) => !blobsBefore.includes(blob))).toEqual([]);
      const aside = readdirSync(join(world.unit.layout.var, 'workdirs', 'cm')).filter((name) =>
        name.includes('.corrupt-'),
      );
      expect(aside.length).toBeGreaterThan(0);
    },
    STORY_MS,
  );
});
