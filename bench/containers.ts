/**
 * B-01: starting and stopping instances, against the bare container runtime on the same machine in the same run.
 * `node bench/containers.ts [instances] [rounds]`; needs root, crun, conmon and busybox.
 */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { instanceId, silentLogger } from '../src/core/index.ts';
import { ImageConfig, ItemConfig } from '../src/oci/index.ts';
import { Cgroups } from '../src/platform/cgroup/index.ts';
import { HostNetworkNamespaces, netnsPath } from '../src/platform/netns/index.ts';
import { createOciEngine } from '../src/platform/oci-runtime/index.ts';
import type { InstalledItem, InstanceInfo } from '../src/sm/model.ts';
import { NodeResources } from '../src/sm/resources/index.ts';
import { ContainerRoots } from '../src/sm/rootfs/index.ts';
import { ContainerRuntime, defaultSeccomp, HELPERS_CGROUP } from '../src/sm/runtime/index.ts';
import { MemorySupervisionStore } from '../src/sm/supervision/index.ts';
import { formatTable, median, ms, ratio } from './table.ts';

const count = Number(process.argv[2] ?? 100);
const rounds = Number(process.argv[3] ?? 3);
const patience = () => AbortSignal.timeout(300_000);

const directory = await mkdtemp(join(tmpdir(), 'aos-bench-'));
// As on a device, where bundles lie in /run.
const memory = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'aos-bench-'));
const BARE_CGROUP = `/aos-bench-${randomUUID()}`;
const cgroups = new Cgroups();
const namespaces = new HostNetworkNamespaces();

const layer = join(directory, 'layer');
mkdirSync(join(layer, 'bin'), { recursive: true });
copyFileSync('/bin/busybox', join(layer, 'bin', 'busybox'));
symlinkSync('busybox', join(layer, 'bin', 'sleep'));
writeFileSync(
  join(directory, 'layer.json'),
  JSON.stringify({ digest: 'sha256:00', diffId: 'sha256:00', sizeBytes: 0, entries: 0, opaque: [], hasFloor: false }),
);

const item: InstalledItem = {
  itemId: 'bench',
  type: 'service',
  version: '1.0.0',
  manifestDigest: 'sha256:00',
  manifest: { schemaVersion: 2, config: { mediaType: '', digest: 'sha256:00', size: 0 }, layers: [] } as never,
  imageConfig: ImageConfig.parse({ architecture: 'amd64', config: { cmd: ['/bin/sleep', '1000'] } }),
  itemConfig: ItemConfig.parse({ baseLayerIsNodeRootfs: false }),
  layers: [layer],
  layerOrderBecause: '',
  files: [],
};

const infos: InstanceInfo[] = Array.from({ length: count }, (_, instance) => ({
  ident: { itemId: 'bench', subjectId: randomUUID(), instance, type: 'service', preinstalled: false },
  version: '1.0.0',
  manifestDigest: 'sha256:00',
  ownerId: 'owner',
  runtimeId: '',
  uid: 5000 + instance,
  gid: 5000,
  priority: 0,
  storagePath: '',
  statePath: '',
  envVars: [],
}));

async function timed(work: () => Promise<void> | void): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

/** One container after the other by a shell, in a mount namespace where crun does not mind the host's cgroups. */
function bare(verb: string): void {
  const hide = cgroups.layout.version === 1 && cgroups.layout.unified ? `umount ${cgroups.layout.unified};` : '';
  const script = `${hide} for i in $(seq 0 ${count - 1}); do crun --root ${memory}/bare-state ${verb}; done`;
  execFileSync('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script], { stdio: 'ignore' });
}

/** What `crun spec` writes, with the command of the instances. */
function writeBareBundles(): void {
  const root = join(directory, 'bare-root');
  mkdirSync(join(root, 'bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin', 'sleep'));
  const spec = join(memory, 'bare');
  mkdirSync(spec);
  execFileSync('crun', ['spec'], { cwd: spec });
  const config = JSON.parse(readFileSync(join(spec, 'config.json'), 'utf8'));
  config.process = { ...config.process, terminal: false, args: ['/bin/sleep', '1000'] };
  config.root = { path: root, readonly: true };
  for (const index of infos.keys()) {
    const bundle = join(spec, String(index));
    mkdirSync(bundle);
    config.linux.cgroupsPath = `${BARE_CGROUP}/${index}`;
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
  }
}

const engine = await createOciEngine({
  wish: { type: 'crun' },
  stateRoot: join(memory, 'oci'),
  cgroups,
  helperCgroup: HELPERS_CGROUP,
  bundleRoot: join(memory, 'runtime'),
  log: 'file',
  logger: silentLogger,
});
const runtime = new ContainerRuntime({
  type: 'crun',
  node: {
    nodeId: 'node0',
    nodeType: '',
    title: '',
    maxDmips: 10_000,
    totalRam: 0,
    os: { os: 'linux', version: '', features: [] },
    cpus: [{ numCores: 2, numThreads: 2, arch: { architecture: 'amd64', variant: '' } }],
    partitions: [],
  },
  engine,
  cgroups,
  roots: await ContainerRoots.open({ workingDir: join(directory, 'work'), hostBinds: [] }),
  resources: new NodeResources([]),
  store: new MemorySupervisionStore(),
  runtimeDir: join(memory, 'runtime'),
  logDir: join(directory, 'log'),
  directories: { stateDir: join(directory, 'states'), storageDir: join(directory, 'storages') },
  stopTimeoutMs: 5_000,
  seccomp: defaultSeccomp(),
  logger: silentLogger,
});

const results = { bareStart: [] as number[], bareDelete: [] as number[], start: [] as number[], stop: [] as number[] };
try {
  writeBareBundles();
  for (let round = 0; round < rounds; round += 1) {
    results.bareStart.push(await timed(() => bare(`run -d -b ${memory}/bare/$i bench-$i`)));
    results.bareDelete.push(await timed(() => bare('delete -f bench-$i')));
    results.start.push(
      await timed(async () => {
        await namespaces.create(
          infos.map(({ ident }) => instanceId(ident)),
          patience(),
        );
        await Promise.all(
          infos.map((info) => {
            const network = { netnsPath: netnsPath(instanceId(info.ident)), hosts: [], dnsServers: [], hostname: '' };
            return runtime.start({ info, item, network }, patience());
          }),
        );
      }),
    );
    results.stop.push(
      await timed(async () => {
        await Promise.all(infos.map(({ ident }) => runtime.stop(instanceId(ident), patience())));
        await namespaces.remove(
          infos.map(({ ident }) => instanceId(ident)),
          patience(),
        );
      }),
    );
  }
} finally {
  bare('delete -f bench-$i');
  await runtime.adopt([], new Map(), patience());
  await runtime.close();
  await namespaces.remove(
    infos.map(({ ident }) => instanceId(ident)),
    patience(),
  );
  cgroups.remove(BARE_CGROUP);
  for (const each of [memory, directory]) await rm(each, { recursive: true, force: true });
}

const { bareStart, bareDelete, start, stop } = results;
const row = (what: string, values: readonly number[], to: readonly number[], limit: string) => {
  return [what, ms(median(values)), ms(Math.min(...values)), ratio(median(values), median(to)), limit];
};
console.log(
  formatTable({
    title: `B-01: ${count} instances`,
    method: `Median and best of ${rounds} rounds. Bare: crun run -d and crun delete -f, one after the other. Ours: overlay root, network namespace, seccomp, conmon.`,
    columns: ['what', 'median', 'best', 'to bare', 'limit'],
    rows: [
      row('crun run -d', bareStart, bareStart, ''),
      row('start instances', start, bareStart, '1.30 ×'),
      row('crun delete -f', bareDelete, bareDelete, ''),
      row('stop instances', stop, bareDelete, '1.50 ×'),
    ],
  }),
);
