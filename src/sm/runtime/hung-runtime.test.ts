/** A container runtime that hangs, when it makes a container or when it removes one: the instance fails, and nothing stays. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, rename, rm, writeFile } from 'node:fs/promises';
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
  const does = (what: string) => `case " $* " in *" ${what} "*) true;; *) false;; esac`;
  const isCreate = does('create');
  const hang = `tail -f ${at('crun')}`;
  await writeFile(
    at('crun'),
    `#!/bin/sh
if [ -e "${at('hang before')}" ] && ${isCreate}; then exec ${hang}; fi
if [ -e "${at('hang in a child')}" ] && ${isCreate}; then ${hang}; exit 1; fi
if [ -e "${at('hang after')}" ] && ${isCreate}; then crun "$@"; exec ${hang}; fi
if [ -e "${at('hang at delete')}" ] && ${does('delete')}; then exec ${hang}; fi
exec crun "$@"
`,
  );
  await chmod(at('crun'), 0o755);
  const wish = { type: 'crun', executable: at('crun') };
  await world.open([], 'crun', { wish, commandTimeoutMs: COMMAND_TIMEOUT_MS });
});
afterEach(() => world.close());

/** Processes of an instance, and what hangs in the place of its runtime. */
function processes(id: string): string[] {
  const named = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ');
        const isOurs = words.includes(id) || words.includes(`tail -f ${at('crun')}`);
        return isOurs ? [`${pid} ${words}`] : [];
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

const inRuntimeAndRecords = () => ['runtime', 'oci'].flatMap((name) => readdirSync(at(name)));

test.each(['hang before', 'hang after', 'hang in a child'])(
  '[SM-19] [R-06] a runtime that hangs (%s) fails the start in words, leaves nothing, and spares the others',
  async (how) => {
    const steady = await world.start('exec sleep 1000');
    const { pid } = world.runtime.instances()[0]!;
    const before = inRuntimeAndRecords();

    const info = world.info();
    const id = instanceId(info.ident);
    const start = () => {
      return world.runtime.start({ info, item: service('exec sleep 1000'), network: LOOPBACK }, patience());
    };
    await writeFile(at(how), '');
    await expect(start()).rejects.toThrow(`did not end within ${COMMAND_TIMEOUT_MS} ms`);
    expect(world.changes.at(-1)).toMatchObject({ state: 'failed', error: { aosCode: 7 } });
    expect(world.runtime.holds(id)).toBe(false);
    expect(inRuntimeAndRecords()).toEqual(before);
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

/** Without its helper nobody tells how it ended, so its runtime is asked to remove it. */
function loseHelper(id: string): void {
  process.kill(Number(readFileSync(join(at('runtime'), id, 'conmon.pid'), 'utf8')), 'SIGKILL');
}

async function expectNothingOf(id: string): Promise<void> {
  expect(world.runtime.holds(id)).toBe(false);
  expect(inRuntimeAndRecords()).not.toContain(id);
  await expect.poll(() => processes(id), { timeout: 10_000 }).toEqual([]);
  expect(cgroups(id)).toEqual([]);
}

test('[SM-18] [R-06] a runtime that hangs at the removal fails the stop in words, and nothing of the instance stays', async () => {
  const steady = await world.start('exec sleep 1000');
  const { pid } = world.runtime.instances()[0]!;
  const info = world.info();
  const start = () => world.runtime.start({ info, item: service('exec sleep 1000'), network: LOOPBACK }, patience());
  const id = instanceId(info.ident);
  await start();
  expect(cgroups(id)).not.toEqual([]);

  await writeFile(at('hang at delete'), '');
  loseHelper(id);
  await expect(world.runtime.stop(id, patience())).rejects.toThrow(`did not end within ${COMMAND_TIMEOUT_MS} ms`);
  const because = expect.stringContaining('could not be stopped by its runtime');
  expect(world.changes.at(-1)).toMatchObject({ state: 'failed', because, error: { aosCode: 7 } });
  await expectNothingOf(id);

  // Nor does what is left of it hinder the next start, or one that fails while the runtime hangs.
  await start();
  await writeFile(at('hang after'), '');
  const other = world.info();
  const failing = { info: other, item: service('exec sleep 1000'), network: LOOPBACK };
  await expect(world.runtime.start(failing, patience())).rejects.toThrow('did not end within');
  await expectNothingOf(instanceId(other.ident));
  for (const name of ['hang after', 'hang at delete']) await rm(at(name));
  await world.runtime.stop(id, patience());
  expect(world.changes.at(-1)).toMatchObject({ state: 'inactive' });
  expect(identifyProcess(pid!)).toBeDefined();
  expect(world.runtime.instances().filter(({ state }) => state === 'active')).toMatchObject([{ id: steady }]);
});

test('[SM-16] [SM-18] [R-06] a runtime that hangs at the removal matters neither to what has crashed nor to what was stopped', async () => {
  await writeFile(at('hang at delete'), '');
  const id = await world.start('exec sleep 1000');
  const { pid } = world.runtime.instances()[0]!;
  process.kill(pid!, 'SIGKILL');
  await world.until((changes) => changes.filter(({ state }) => state === 'active').length === 2);
  expect(world.runtime.instances()).toMatchObject([{ id, state: 'active', restarts: 1 }]);
  expect(world.cgroups.processes(cgroupPathOf(id))).toEqual([world.runtime.instances()[0]!.pid]);
  await world.runtime.stop(id, patience());
  expect(world.changes.at(-1)).toMatchObject({ state: 'inactive' });
  await expectNothingOf(id);
});

test('[SM-18] [R-06] a runtime that has gone missing fails the stop by its path where it is needed, and nothing of the instance stays', async () => {
  const ids = [await world.start('exec sleep 1000'), await world.start('exec sleep 1000')];
  await rename(at('crun'), at('crun-away'));
  loseHelper(ids[0]!);
  await expect(world.runtime.stop(ids[0]!, patience())).rejects.toThrow(at('crun'));
  await world.runtime.stop(ids[1]!, patience());
  for (const id of ids) await expectNothingOf(id);
  await rename(at('crun-away'), at('crun'));
});
