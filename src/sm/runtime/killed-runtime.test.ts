/** A service manager that is killed at any moment leaves nothing that the next one does not take over or remove. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { instanceId } from '../../core/index.ts';
import type { InstanceInfo } from '../model.ts';
import { cgroupPathOf } from './build-oci-config.ts';
import { LOOPBACK, RuntimeWorld, service } from './runtime-for-tests.ts';

const SCRIPT = join(import.meta.dirname, 'start-and-stop-for-tests.ts');
const patience = () => AbortSignal.timeout(30_000);

let world: RuntimeWorld;
beforeEach(async () => {
  world = await RuntimeWorld.create();
  await world.runtime.close();
});
afterEach(() => world.close());

/** Answers what it said before it was killed. */
async function dieAt(point: string, info: InstanceInfo): Promise<string> {
  const child = spawn(process.execPath, [SCRIPT, world.directory, JSON.stringify(info)], {
    env: { ...process.env, AOS_FAULT: point },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (chunk) => {
    said += chunk;
  });
  const [, signal] = await once(child, 'close');
  expect(signal, `${point} was never passed`).toBe('SIGKILL');
  return said;
}

const POINTS_OF_START = [
  'sm.runtime.root-prepared',
  'sm.runtime.record',
  'oci-runtime.run',
  'oci-runtime.spawned',
  'oci-runtime.created',
  'oci-runtime.begun',
  'sm.runtime.record#2',
];
const POINTS_OF_STOP = ['cgroup.kill', 'oci-runtime.forget', 'sm.runtime.bundle.remove'];

describe.each([...POINTS_OF_START, ...POINTS_OF_STOP])('killed at %s', (point) => {
  test('[R-01] the next one removes everything when nobody wants the instance any more', async () => {
    const info = world.info();
    await dieAt(point, info);
    const runtime = await world.open();
    await runtime.adopt([], new Map(), patience());
    expect(runtime.instances()).toEqual([]);
    expect(readdirSync(join(world.directory, 'runtime'))).toEqual([]);
    expect(await runtime.adopt([], new Map(), patience())).toEqual([]);
    const path = cgroupPathOf(instanceId(info.ident));
    expect(world.cgroups.processes(path)).toEqual([]);
    expect(existsSync(world.cgroups.directory(path, 'memory') ?? '')).toBe(false);
  });

  test('[R-01] [SM-58] the next one has it active, as taken over or as started again', async () => {
    const info = world.info();
    const said = await dieAt(point, info);
    expect(said).toBe(POINTS_OF_START.includes(point) ? '' : 'active\n');
    const id = instanceId(info.ident);
    const runtime = await world.open();
    const [adopted] = await runtime.adopt([info], new Map(), patience());
    // As the launcher does with what it wants and does not find.
    if (!adopted) await runtime.start({ info, item: service('exec sleep 1000'), network: LOOPBACK }, patience());
    await world.until(() => runtime.instances()[0]?.state === 'active');
    expect(world.cgroups.processes(cgroupPathOf(id))).toHaveLength(1);
    await runtime.stop(id, patience());
    expect(world.cgroups.processes(cgroupPathOf(id))).toEqual([]);
  });
});
