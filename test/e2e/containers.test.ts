/** Real programs from Debian packages in images of standard builders: they serve while their versions change. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildImage, type Recipe } from '../../devenv/samples.ts';
import { World } from './world.ts';

const run = promisify(execFile);

const STORY_MS = 180_000;
const MIB = 1024 * 1024;

const tag = randomBytes(3).toString('hex');
const REDIS = `redis-${tag}`;

let world: World;

beforeAll(async () => {
  world = await World.create();
  await world.provision();
}, STORY_MS);

afterAll(() => world?.close(), STORY_MS);

/** Builds a version with umoci, and publishes it as it is, or as the archive that skopeo makes of it. */
async function publish(recipe: Recipe, as: 'layout' | 'archive'): Promise<void> {
  const directory = join(world.directory, `${recipe.id}-${recipe.version}`);
  await buildImage(directory, recipe);
  let image = join(directory, 'layout');
  if (as === 'archive') {
    image = join(directory, 'image.tar');
    await run('skopeo', [
      'copy',
      '--insecure-policy',
      `oci:${join(directory, 'layout')}:latest`,
      `oci-archive:${image}:latest`,
    ]);
  }
  const config = join(directory, 'item-config.json');
  await world.must('publish', image, '--id', recipe.id, '--version', recipe.version, '--config', config);
}

const redis = (version: string): Recipe => ({
  id: REDIS,
  version,
  title: 'Redis',
  owner: 'data',
  programs: ['/usr/bin/redis-server'],
  files: {
    'etc/redis.conf': `dir /storage\nappendonly yes\nappendfsync always\nsave ""\nbind 127.0.0.1\nport 6379\nproc-title-template ${version}\n`,
  },
  command: ['/usr/bin/redis-server', '/etc/redis.conf'],
  exposedPorts: [],
  itemConfig: {
    baseLayerIsNodeRootfs: false,
    quotas: { ramLimit: 128 * MIB, pidsLimit: 32, storageLimit: 64 * MIB },
  },
});

/** A client on the network of the instance that serves at the moment. */
async function ask(pid: number, ...words: string[]): Promise<string> {
  const { stdout } = await run('nsenter', ['--net', '--target', `${pid}`, 'redis-cli', '-e', ...words]);
  return stdout.trim();
}

test(
  '[P-06] [SM-29] redis keeps every write that it confirmed while its versions change under load',
  async () => {
    await publish(redis('1.0.0'), 'layout');
    await publish(redis('2.0.0'), 'archive');
    await world.deploy(REDIS, '1.0.0');
    const first = await world.pidOf(REDIS);
    await world.until(
      'redis answers',
      () => ask(first, 'PING'),
      (answer) => answer === 'PONG',
    );

    let confirmed = 0;
    let isOver = false;
    const load = (async () => {
      while (!isOver) {
        const pid = (await world.running(REDIS)).find(({ state }) => state === 'active')?.pid;
        // Between two versions nobody serves; what was asked then is not confirmed.
        const answer = pid === undefined ? '' : await ask(pid, 'INCR', 'count').catch(() => '');
        if (/^\d+$/.test(answer)) confirmed = Math.max(confirmed, Number(answer));
      }
    })();
    try {
      await world.until(
        'writes are confirmed',
        async () => confirmed,
        (count) => count > 3,
      );
      await world.deploy(REDIS, '2.0.0');
      const before = confirmed;
      await world.until(
        'the new version confirms writes',
        async () => confirmed,
        (count) => count > before + 3,
      );
    } finally {
      isOver = true;
      await load;
    }
    const second = await world.pidOf(REDIS);
    expect(second).not.toBe(first);
    expect(await ask(second, 'CONFIG', 'GET', 'proc-title-template')).toContain('2.0.0');
    // A write may have been done whose answer was lost; one that was confirmed is there.
    expect(Number(await ask(second, 'GET', 'count'))).toBeGreaterThanOrEqual(confirmed);
  },
  STORY_MS,
);
