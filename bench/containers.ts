/**
 * B-01: starting and stopping instances with root, network, firewall, state and storage, beside bare containers by others on
 * the same machine in the same run; where the time goes; what an instance costs in memory.
 * `node bench/containers.ts [counts] [rounds]`, such as `1,20,100,250 3`; needs root, crun, conmon, dnsmasq and busybox.
 * Runs in namespaces of its own.
 */
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AosError, instanceId, silentLogger, systemClock } from '../src/core/index.ts';
import { ImageConfig, ItemConfig } from '../src/oci/index.ts';
import { Cgroups } from '../src/platform/cgroup/index.ts';
import { HostLinks } from '../src/platform/ip/index.ts';
import { HostNft } from '../src/platform/nft/index.ts';
import { createOciEngine } from '../src/platform/oci-runtime/index.ts';
import type { InstalledItem, InstanceInfo, NodeInfo } from '../src/sm/model.ts';
import { HostUsage, NO_TRAFFIC_READER, UsageReader } from '../src/sm/monitoring/index.ts';
import { NetworkHost } from '../src/sm/network/for-tests/network-host.ts';
import { NodeResources } from '../src/sm/resources/index.ts';
import { ContainerRoots } from '../src/sm/rootfs/index.ts';
import { ContainerRuntime, cgroupPathOf, defaultSeccomp, HELPERS_CGROUP } from '../src/sm/runtime/index.ts';
import { MemorySupervisionStore } from '../src/sm/supervision/index.ts';
import { Rivals } from './container-rivals.ts';
import { memoryOf } from './memory.ts';
import { StepClock } from './step-clock.ts';
import { formatTable, median, ms, ratio } from './table.ts';

const INSIDE = 'AOS_BENCH_INSIDE';
if (process.env[INSIDE] === undefined) {
  const script = `ip link set lo up; mkdir -p /run/netns; mount -t tmpfs tmpfs /run/netns; exec "$0" "$@"`;
  const own = ['--net', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const { status } = spawnSync(
    'unshare',
    [...own, 'sh', '-c', script, process.execPath, '--expose-gc', import.meta.filename, ...process.argv.slice(2)],
    { stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' } },
  );
  process.exit(status ?? 1);
}

const counts = (process.argv[2] ?? '1,20,100,250').split(',').map(Number);
const rounds = Number(process.argv[3] ?? 3);
const patience = () => AbortSignal.timeout(300_000);

const directory = await mkdtemp(join(tmpdir(), 'aos-bench-'));
// As on a device, where bundles lie in /run.
const memory = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'aos-bench-'));
const cgroups = new Cgroups();
const clock = new StepClock();

function makeItem(): InstalledItem {
  const layer = join(directory, 'layer');
  mkdirSync(join(layer, 'bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(layer, 'bin', 'busybox'));
  symlinkSync('busybox', join(layer, 'bin', 'sleep'));
  const facts = { digest: 'sha256:00', diffId: 'sha256:00', sizeBytes: 0, entries: 0, opaque: [], hasFloor: false };
  writeFileSync(join(directory, 'layer.json'), JSON.stringify(facts));
  return {
    itemId: 'bench',
    type: 'service',
    version: '1.0.0',
    manifestDigest: 'sha256:00',
    manifest: { schemaVersion: 2, config: { mediaType: '', digest: 'sha256:00', size: 0 }, layers: [] } as never,
    imageConfig: ImageConfig.parse({
      architecture: 'amd64',
      config: { cmd: ['/bin/sleep', '1000'], exposedPorts: { '80/tcp': {} } },
    }),
    itemConfig: ItemConfig.parse({
      baseLayerIsNodeRootfs: false,
      quotas: {
        ramLimit: 64 * 2 ** 20,
        cpuDMIPSLimit: 1000,
        pidsLimit: 32,
        storageLimit: 2 ** 20,
        stateLimit: 2 ** 10,
      },
    }),
    layers: [layer],
    layerOrderBecause: '',
    files: [],
  };
}

const info = (index: number): InstanceInfo => ({
  ident: { itemId: 'bench', subjectId: randomUUID(), instance: index, type: 'service', preinstalled: false },
  ...{ version: '1.0.0', manifestDigest: 'sha256:00', ownerId: 'red', runtimeId: '', priority: 0, envVars: [] },
  ...{ uid: 5000 + index, gid: 5000, storagePath: `${index}`, statePath: `${index}.dat` },
});

const node: NodeInfo = {
  ...{ nodeId: 'node0', nodeType: '', title: '', maxDmips: 10_000, totalRam: 0 },
  os: { os: 'linux', version: '', features: [] },
  cpus: [{ numCores: 2, numThreads: 2, arch: { architecture: 'amd64', variant: '' } }],
  partitions: [],
};

async function openRuntime(): Promise<ContainerRuntime> {
  const engine = await createOciEngine({
    wish: { type: 'crun' },
    stateRoot: join(memory, 'oci'),
    cgroups,
    helperCgroup: HELPERS_CGROUP,
    bundleRoot: join(memory, 'runtime'),
    log: 'file',
    logger: silentLogger,
  });
  const roots = await ContainerRoots.open({ workingDir: join(directory, 'work'), hostBinds: [] });
  return new ContainerRuntime({
    type: 'crun',
    node,
    engine: clock.watch('runtime', ['run', 'remove'], engine),
    cgroups,
    roots: clock.watch('root file system', ['prepare', 'remove'], roots),
    resources: new NodeResources([]),
    store: new MemorySupervisionStore(),
    runtimeDir: join(memory, 'runtime'),
    logDir: join(directory, 'log'),
    directories: { stateDir: join(directory, 'states'), storageDir: join(directory, 'storages') },
    stopTimeoutMs: 5_000,
    seccomp: defaultSeccomp(),
    logger: silentLogger,
    measure: clock.measure,
  });
}

const item = makeItem();
const runtime = await openRuntime();
const host = new NetworkHost();
const networks = host.manager({
  vlan: 'off',
  withIpv6: false,
  links: clock.watch('network', ['batch', 'shape', 'list', 'tryAll', 'routes'], new HostLinks()),
  nft: clock.watch('firewall', ['apply', 'list'], new HostNft()),
});
await networks.adopt([], patience());
const usage = new UsageReader({
  node,
  usage: new HostUsage({
    ...{ cgroups, clock: systemClock, logger: silentLogger },
    quota: { usage: async () => new Map() },
  }),
  ...{ traffic: NO_TRAFFIC_READER, cgroupPath: cgroupPathOf, dataPaths: () => ({}) },
  ...{ clock: systemClock, logger: silentLogger },
});
const rivals = await Rivals.create(directory, memory, Math.max(...counts));

async function timed(work: () => unknown): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

async function startOurs(infos: readonly InstanceInfo[]): Promise<void> {
  const requests = infos.map((each) => ({ info: each, item }));
  const given = await networks.start(requests, patience());
  await Promise.all(
    requests.map((request) => {
      const network = given.get(instanceId(request.info.ident));
      if (network === undefined || network instanceof AosError) throw network ?? new Error('no network');
      return runtime.start({ ...request, network }, patience());
    }),
  );
}

async function stopOurs(infos: readonly InstanceInfo[]): Promise<void> {
  const ids = infos.map(({ ident }) => instanceId(ident));
  await Promise.all(ids.map((id) => runtime.stop(id, patience())));
  await networks.stop(ids, patience());
}

/** Private and shared memory of the helpers of these instances, each. */
function helperMemory(infos: readonly InstanceInfo[]): { readonly privateBytes: number; readonly pssBytes: number } {
  const all = infos.map(({ ident }) => {
    const pid = readFileSync(join(memory, 'runtime', instanceId(ident), 'conmon.pid'), 'utf8');
    return memoryOf(Number(pid));
  });
  const mean = (read: (one: (typeof all)[number]) => number) =>
    all.reduce((sum, one) => sum + read(one), 0) / all.length;
  return { privateBytes: mean((one) => one.privateBytes), pssBytes: mean((one) => one.pssBytes) };
}

/** Bytes that the service manager needs, without garbage. */
function ownMemory(): number {
  (globalThis as { gc?: () => void }).gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const STEPS = ['network', 'firewall', 'resources', 'state', 'root file system', 'configuration', 'runtime', 'monitor'];
const STOP_STEPS = ['end of the process', 'runtime', 'root file system', 'bundle', 'network', 'firewall'];
const starts: string[][] = [];
const stops: string[][] = [];
const steps: string[][] = [];
const stopSteps: string[][] = [];
const costs: string[][] = [];
const kib = (bytes: number) => `${(bytes / 1024).toFixed(0)} KiB`;

try {
  for (const count of counts) {
    const infos = Array.from({ length: count }, (_, index) => info(index));
    const times = {
      start: [] as number[],
      stop: [] as number[],
      steps: new Map<string, number[]>(),
      stopSteps: new Map<string, number[]>(),
    };
    const others = rivals.all
      .filter(({ most }) => count <= most)
      .map((rival) => ({ rival, start: [] as number[], remove: [] as number[] }));
    const before = ownMemory();
    let grown = 0;
    let helpers = { privateBytes: 0, pssBytes: 0 };
    for (let round = 0; round < rounds; round += 1) {
      for (const { rival, start, remove } of others) {
        start.push(await timed(() => rivals.start(rival, count)));
        remove.push(await timed(() => rivals.remove(rival, count)));
      }
      clock.take();
      times.start.push(await timed(() => startOurs(infos)));
      await clock.measure('monitor', () => usage.read(infos));
      for (const [step, took] of clock.take()) times.steps.set(step, [...(times.steps.get(step) ?? []), took]);
      grown = ownMemory() - before;
      helpers = helperMemory(infos);
      clock.take();
      times.stop.push(await timed(() => stopOurs(infos)));
      for (const [step, took] of clock.take()) times.stopSteps.set(step, [...(times.stopSteps.get(step) ?? []), took]);
    }
    const other = (name: string, what: 'start' | 'remove') => {
      const found = others.find(({ rival }) => rival.name.startsWith(name));
      return found === undefined ? Number.NaN : median(found[what]);
    };
    const row = (ours: readonly number[], what: 'start' | 'remove') => [
      String(count),
      ...['crun', 'runc', 'podman'].map((name) => (Number.isNaN(other(name, what)) ? '–' : ms(other(name, what)))),
      ms(median(ours)),
      ms(Math.min(...ours)),
      ratio(median(ours), other('crun', what)),
    ];
    starts.push(row(times.start, 'start'));
    stops.push(row(times.stop, 'remove'));
    steps.push([String(count), ...STEPS.map((step) => ms(median(times.steps.get(step) ?? [])))]);
    stopSteps.push([String(count), ...STOP_STEPS.map((step) => ms(median(times.stopSteps.get(step) ?? [])))]);
    costs.push([String(count), kib(helpers.privateBytes), kib(helpers.pssBytes), kib(grown / count)]);
  }
} finally {
  for (const rival of rivals.all) {
    // After a failure some of them are still there.
    try {
      rivals.remove(rival, Math.min(rival.most, Math.max(...counts)));
    } catch {
      // They were removed before, as they should have been.
    }
  }
  await runtime.adopt([], new Map(), patience());
  await runtime.close();
  await networks.withdraw(patience());
  host.remove();
  rivals.close();
  for (const each of [memory, directory]) await rm(each, { recursive: true, force: true });
}

const method = `Median of ${rounds} rounds in turns. Others: bare containers, one after the other. Ours: overlay root, bridge, link, address, firewall, counters, name, state, storage, cgroup limits, seccomp, conmon.`;
const names = ['crun run -d', 'runc run -d', 'podman run -d'];
console.log(
  formatTable({
    title: 'B-01: starting instances',
    method: `${method} Budget at 100: 1.30 × crun.`,
    columns: ['instances', ...names, 'ours', 'best', 'to crun'],
    rows: starts,
  }),
);
console.log(
  formatTable({
    title: 'B-01: stopping them and giving everything back',
    method: 'Others: delete -f, rm -f. Budget at 100: 1.50 × crun.',
    columns: ['instances', ...names.map((name) => name.split(' ')[0]!), 'ours', 'best', 'to crun'],
    rows: stops,
  }),
);
console.log(
  formatTable({
    title: 'Where the time of a start goes',
    method:
      'How long at least one instance was in the step; steps of different instances overlap. Limits of the cgroup are set by the runtime; permissions are one call of IAM, which its own table has.',
    columns: ['instances', ...STEPS],
    rows: steps,
  }),
);
console.log(
  formatTable({
    title: 'Where the time of a stop goes',
    method: 'How long at least one instance was in the step; steps of different instances overlap.',
    columns: ['instances', ...STOP_STEPS],
    rows: stopSteps,
  }),
);
console.log(
  formatTable({
    title: 'Memory of an instance',
    method: 'Of conmon, the mean; of the service manager, what its heap has grown by, by the number of instances.',
    columns: ['instances', 'conmon, private', 'conmon, with its share', 'ours'],
    rows: costs,
  }),
);
