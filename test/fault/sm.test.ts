/** The SM is killed at each durable write and before each external command of an update, in a whole unit. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { World } from '../e2e/world.ts';

const STORY_MS = 120_000;

const tag = randomBytes(3).toString('hex');
const [STEADY, MOVING, GOING] = [`steady-${tag}`, `moving-${tag}`, `going-${tag}`];

/** What an update passes: the new version is fetched, unpacked and started, the former one stopped and given back. */
const POINTS = [
  'sm.images.downloaded',
  'sm.images.layer.unpacked',
  'sm.images.layer.complete.written',
  'sm.images.layer.complete.renamed',
  'sm.images.record.before-commit',
  'sm.images.record.committed',
  'sm.launcher.intend.before-commit',
  'sm.launcher.intend.committed',
  'sm.launcher.launching.before-commit',
  'sm.launcher.launching.committed',
  'sm.network.put.before-commit',
  'sm.network.put.committed',
  'sm.rootfs.generated',
  'sm.rootfs.unmounted',
  'sm.runtime.root-prepared',
  'sm.runtime.record',
  'sm.runtime.bundle.remove',
  'platform.mount.mount',
  'platform.mount.mounted',
  'platform.mount.unmount',
  'ip.batch',
  'ip.inside',
  'nft.apply',
  'nft.applied',
  'oci-runtime.run',
  'oci-runtime.spawned',
  'oci-runtime.created',
  'oci-runtime.begun',
  'oci-runtime.forget',
];

/** What the removal of an instance passes besides. */
const REMOVAL_POINTS = [
  'sm.launcher.gone.before-commit',
  'sm.launcher.gone.committed',
  'sm.network.forget.before-commit',
  'sm.network.forget.committed',
];

let world: World;

/** What an instance has on the host, by kind; the unit's daemons have none of it for themselves. */
async function possessions(): Promise<Record<string, number>> {
  const { directory } = world;
  const count = (command: string, accept: (line: string) => boolean) =>
    execFileSync('sh', ['-c', command], { encoding: 'utf8' }).split('\n').filter(accept).length;
  return {
    mounts: count('cat /proc/self/mountinfo', (line) => line.includes(directory)),
    monitors: count('ps -eo args', (line) => line.includes('conmon') && line.includes(directory)),
    instances: (await world.running()).length,
  };
}

/** Restarts the SM with the point armed, gives the order, waits for its death, and lets it come up whole. */
async function dieAt(point: string, order: () => Promise<unknown>): Promise<void> {
  const { supervisor } = world.unit;
  const daemon = supervisor.daemon('aos-sm');
  // The environment is read at each start of the process.
  const env = daemon.spec.env as Record<string, string>;
  env.AOS_FAULT = point;
  const since = supervisor.history.length;
  try {
    await daemon.kill('SIGKILL');
    await order();
    let deaths = 0;
    await supervisor.waitFor(
      ({ kind, program }) => {
        if (kind === 'exited' && program === 'aos-sm') deaths += 1;
        return deaths === 2;
      },
      30_000,
      since,
    );
  } finally {
    delete env.AOS_FAULT;
  }
  // Should it have been started once more with the fault, it ends now.
  await daemon.kill('SIGKILL');
  await supervisor.untilReady('aos-sm');
}

beforeAll(async () => {
  world = await World.create({ hasOwnNetwork: true });
  await world.provision();
  await world.publishBusybox(STEADY, '1.0.0');
  await world.deploy(STEADY, '1.0.0');
}, STORY_MS);

afterAll(() => world?.close(), STORY_MS);

describe('an SM that is killed', () => {
  let version = 0;
  let before: Record<string, number>;

  beforeAll(async () => {
    before = await possessions();
    await world.publishBusybox(MOVING, '1.0.0');
    await world.deploy(MOVING, '1.0.0');
    await world.publishBusybox(GOING, '1.0.0');
  }, STORY_MS);

  test.each(POINTS)(
    '[X-07] [SM-58] [R-01] at %s brings the update to its end after its restart, and what runs goes on',
    async (point) => {
      const steady = await world.pidOf(STEADY);
      version += 1;
      const wanted = `2.${version}.0`;
      await world.publishBusybox(MOVING, wanted);
      await dieAt(point, () => world.wish(MOVING, wanted));
      await world.untilActive(MOVING, wanted);
      expect(await world.versionOf(MOVING)).toBe(`${MOVING} ${wanted}`);
      expect(await world.pidOf(STEADY)).toBe(steady);
    },
    STORY_MS,
  );

  test.each(REMOVAL_POINTS)(
    '[X-07] [SM-58] [R-01] at %s brings a removal to its end after its restart, and what runs goes on',
    async (point) => {
      const steady = await world.pidOf(STEADY);
      await world.deploy(GOING, '1.0.0');
      await dieAt(point, () => world.rest.send('DELETE', `/api/units/${world.systemId}/deployments/${GOING}`));
      await world.until(
        'it is gone, here and for the cloud',
        async () => [await world.running(GOING), await world.cloudInstances(GOING)].flat(),
        (left) => left.length === 0,
      );
      expect(await world.pidOf(STEADY)).toBe(steady);
    },
    STORY_MS,
  );

  test(
    '[R-01] [R-07] after all these deaths an instance that goes leaves nothing on the host',
    async () => {
      await world.must('undeploy', MOVING, '--unit', world.systemId, '--wait', '60');
      await world.until('only the other is left', possessions, (now) => JSON.stringify(now) === JSON.stringify(before));
    },
    STORY_MS,
  );
});
