/**
 * What containers are held to on a host with the one tree of cgroup v2. Runs inside of the machine, as one file without
 * a test runner; prints its findings as JSON. Needs /bin/busybox, conmon, and the runtime named on the command line.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { instanceId } from '../../../src/core/index.ts';
import { NodeResource } from '../../../src/sm/resources/index.ts';
import { cgroupPathOf } from '../../../src/sm/runtime/build-oci-config.ts';
import { LOOPBACK, RuntimeWorld, type ServiceOptions, service } from '../../../src/sm/runtime/runtime-for-tests.ts';

const PATIENCE_MS = 120_000;
const RAM = 32 * 1024 * 1024;
const patience = () => AbortSignal.timeout(PATIENCE_MS);

const world = await RuntimeWorld.create(
  [NodeResource.parse({ name: 'full', devices: ['/dev/full:/dev/mine'] })],
  process.argv[2] ?? 'crun',
);
// Whoever waits in vain ends in time.
const alarm = setTimeout(() => process.exit(3), 4 * PATIENCE_MS);
const read = (id: string, file: string) => world.cgroups.read(cgroupPathOf(id), '', file)?.trim();

/** What a script writes to its standard output. */
async function outputOf(script: string, { config, ...options }: ServiceOptions = {}): Promise<string> {
  const info = world.info({ storagePath: 'out' });
  const item = service(`exec > /storage/out 2>&1; ${script}`, { ...options, config: { ...config, restart: 'never' } });
  await world.runtime.start({ info, item, network: LOOPBACK }, patience()).catch(() => undefined);
  await world.until(() =>
    world.runtime.instances().some(({ id, state }) => id === instanceId(info.ident) && state === 'inactive'),
  );
  return readFileSync(join(world.directory, 'storages/out/out'), 'utf8').trim();
}

try {
  mkdirSync(join(world.directory, 'storages'), { recursive: true });
  const quotas = { cpuDMIPSLimit: 1000, ramLimit: RAM, pidsLimit: 7 };
  const limited = await world.start('exec sleep 1000', { config: { quotas } });
  const limits = {
    version: world.cgroups.layout.version,
    cpu: read(limited, 'cpu.max'),
    memory: read(limited, 'memory.max'),
    pids: read(limited, 'pids.max'),
    processes: world.cgroups.processes(cgroupPathOf(limited)).length,
    account: [read(limited, 'cpu.stat')?.split('\n')[0]?.split(' ')[0], Number(read(limited, 'memory.current')) > 0],
  };
  await world.runtime.stop(limited, patience());
  const leftover = world.cgroups.processes(cgroupPathOf(limited)).length + (read(limited, 'cpu.max') ? 1 : 0);

  const config = { quotas: { ramLimit: RAM }, runParameters: { startBurst: 1, startInterval: '1h' } };
  const greedy = { cmd: ['/bin/dd', 'if=/dev/zero', 'of=/dev/null', 'bs=128M', 'count=1'] };
  await world.start('', { config, image: greedy }).catch(() => undefined);
  await world.until((changes) => changes.some(({ crash }) => crash?.gaveUp));
  const outOfMemory = world.changes.find(({ state }) => state === 'failed')?.error;

  const write = '(echo x > /dev/mine) 2>&1; (: < /dev/mine) 2>&1; echo read $?';
  const devices = {
    rw: await outputOf(write, { config: { resources: [{ name: 'full', mode: 'rw' }] } }),
    none: await outputOf('dd if=/dev/mem of=/dev/null count=1 2>/dev/null; echo $?'),
  };
  const inside = await outputOf('cat /proc/self/cgroup');
  console.log(JSON.stringify({ limits, leftover, outOfMemory, devices, inside }));
} finally {
  clearTimeout(alarm);
  await world.close();
}
