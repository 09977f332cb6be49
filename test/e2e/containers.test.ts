/** Real programs from Debian packages in images of standard builders: they serve while their versions change. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildImage } from '../../devenv/samples.ts';
import { REAL_PROGRAMS, type RealProgram } from './real-programs.ts';
import { World } from './world.ts';

const run = promisify(execFile);

const STORY_MS = 180_000;
/** Confirmed before the change is asked for, and after it: the change falls into the middle of the load. */
const WRITES = 3;

const tag = randomBytes(3).toString('hex');
const idOf = ({ name }: RealProgram) => `${name}-${tag}`;

let world: World;

beforeAll(async () => {
  world = await World.create();
  await world.provision();
  for (const program of REAL_PROGRAMS) {
    await publish(program, '1.0.0', 'layout');
    await publish(program, '2.0.0', 'archive');
  }
}, STORY_MS);

afterAll(() => world?.close(), STORY_MS);

/** Builds a version with umoci, and publishes it as it is, or as the archive that skopeo makes of it. */
async function publish(program: RealProgram, version: string, as: 'layout' | 'archive'): Promise<void> {
  const id = idOf(program);
  const directory = join(world.directory, `${id}-${version}`);
  await buildImage(directory, program.recipe(id, version));
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
  await world.must('publish', image, '--id', id, '--version', version, '--config', config);
}

test.each(REAL_PROGRAMS)(
  '[P-06] [SM-29] $name keeps every write that it confirmed while its version changes under load',
  async (program) => {
    const id = idOf(program);
    await world.deploy(id, '1.0.0');
    const first = await world.pidOf(id);
    let confirmed = 0;
    let isOver = false;
    const load = (async () => {
      while (!isOver) {
        const pid = (await world.running(id)).find(({ state }) => state === 'active')?.pid;
        // Between two versions nobody serves; what was asked then is not confirmed.
        const answer = pid === undefined ? 0 : await program.write(pid, confirmed + 1).catch(() => 0);
        confirmed = Math.max(confirmed, answer);
      }
    })();
    const untilConfirmed = (count: number, what: string) =>
      world.until(
        `${what} confirms writes`,
        async () => confirmed,
        (now) => now >= count,
      );
    try {
      await untilConfirmed(WRITES, 'the first version');
      await world.deploy(id, '2.0.0');
      await untilConfirmed(confirmed + WRITES, 'the second version');
    } finally {
      isOver = true;
      await load;
    }
    const second = await world.pidOf(id);
    expect(second).not.toBe(first);
    expect(await readFile(`/proc/${second}/root/etc/version`, 'utf8')).toBe('2.0.0');
    // A write may have been done whose answer was lost; one that was confirmed is there.
    expect(await program.read(second)).toBeGreaterThanOrEqual(confirmed);
  },
  STORY_MS,
);
