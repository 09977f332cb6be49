/** A container runtime that hangs, before or after it has made the container: the instance fails, and nothing stays. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { instanceId } from '../../core/index.ts';
import { identifyProcess } from '../../platform/proc/index.ts';
import { cgroupPathOf } from './build-oci-config.ts';
import { LOOPBACK, RuntimeWorld, service } from './runtime-for-tests.ts';

const patience = () => AbortSignal.timeout(30_000);
const COMMAND_TIMEOUT_MS = 1_000;

let world: RuntimeWorld;
const at = (name: string) => join(world.directory, name);

beforeEach(async () => {
  world = await RuntimeWorld.closed();
  const isRun = 'case " $* " in *" run "*) true;; *) false;; esac';
  await writeFile(
    at('crun'),
    `#!/bin/sh
if [ -e "${at('hang before')}" ] && ${isRun}; then exec sleep 1000; fi
if [ -e "${at('hang after')}" ] && ${isRun}; then crun "$@"; exec sleep 1000; fi
exec crun "$@"
`,
  );
  await chmod(at('crun'), 0o755);
  const wish = { type: 'crun', executable: at('crun') };
  await world.open([], 'crun', { wish, commandTimeoutMs: COMMAND_TIMEOUT_MS });
});
afterEach(() => world.close());

/** Processes that name the directory of this test, and those of instances of it. */
function processes(id: string): string[] {
  const named = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ');
        return words.includes(id) ? [`${pid} ${words}`] : [];
      } catch {
        // It ended while we looked.
        return [];
      }
    });
  return [...named, ...world.cgroups.processes(cgroupPathOf(id)).map(String)];
}

/** In whatever hierarchies the host has. */
function cgroups(id: string): string[] {
  const root = '/sys/fs/cgroup';
  return ['', ...readdirSync(root)]
    .map((name) => join(root, name, cgroupPathOf(id)))
    .filter((path) => existsSync(path));
}

test.each(['hang before', 'hang after'])(
  '[SM-19] [R-06] a runtime that hangs (%s) fails the start in words, leaves nothing, and spares the others',
  async (how) => {
    const steady = await world.start('exec sleep 1000');
    const { pid } = world.runtime.instances()[0]!;
    const left = () => ['runtime', 'oci'].flatMap((name) => readdirSync(at(name)));
    const before = left();

    const info = world.info();
    const id = instanceId(info.ident);
    const start = () => {
      return world.runtime.start({ info, item: service('exec sleep 1000'), network: LOOPBACK }, patience());
    };
    await writeFile(at(how), '');
    await expect(start()).rejects.toThrow(`did not end within ${COMMAND_TIMEOUT_MS} ms`);
    expect(world.changes.at(-1)).toMatchObject({ state: 'failed', error: { aosCode: 7 } });
    expect(world.runtime.holds(id)).toBe(false);
    expect(left()).toEqual(before);
    await expect.poll(() => processes(id), { timeout: 10_000 }).toEqual([]);
    expect(cgroups(id)).toEqual([]);
    expect(identifyProcess(pid!)).toBeDefined();

    await rm(at(how));
    await start();
    const states = world.runtime.instances().map((instance) => [instance.id, instance.state]);
    expect(states.sort()).toEqual(
      [
        [id, 'active'],
        [steady, 'active'],
      ].sort(),
    );
  },
);
