/** Instances of a service manager on a host of its own, with everything around them: for benches of starts and stops. */
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { AosError, instanceId, silentLogger, systemClock } from '../src/core/index.ts';
import { ImageConfig, ItemConfig } from '../src/oci/index.ts';
import { Cgroups } from '../src/platform/cgroup/index.ts';
import { HostLinks } from '../src/platform/ip/index.ts';
import { HostMounts } from '../src/platform/mount/index.ts';
import { HostNft } from '../src/platform/nft/index.ts';
import { createOciEngine } from '../src/platform/oci-runtime/index.ts';
import { HelperShell } from '../src/platform/program/index.ts';
import { growingParts } from '../src/sm/launcher/index.ts';
import type { InstalledItem, InstanceInfo, NodeInfo } from '../src/sm/model.ts';
import { NetworkHost } from '../src/sm/network/for-tests/network-host.ts';
import { NodeResources } from '../src/sm/resources/index.ts';
import { ContainerRoots } from '../src/sm/rootfs/index.ts';
import { ContainerRuntime, defaultSeccomp, HELPERS_CGROUP } from '../src/sm/runtime/index.ts';
import { MemorySupervisionStore } from '../src/sm/supervision/index.ts';
import type { StepClock } from './step-clock.ts';

const INSIDE = 'AOS_BENCH_INSIDE';
const PATIENCE_MS = 300_000;
const patience = () => AbortSignal.timeout(PATIENCE_MS);

export const BENCH_NODE: NodeInfo = {
  ...{ nodeId: 'node0', nodeType: '', title: '', maxDmips: 10_000, totalRam: 0 },
  os: { os: 'linux', version: '', features: [] },
  cpus: [{ numCores: 2, numThreads: 2, arch: { architecture: 'amd64', variant: '' } }],
  partitions: [],
};

/**
 * Runs the program of the bench again in namespaces of its own, and ends with its exit code; returns where it is there
 * already. `prepare` is done by a shell first, with the bench as its arguments; `after` when all of it has ended.
 */
export function enterOwnNamespaces(program: string, prepare = '', after?: () => void): void {
  if (process.env[INSIDE] !== undefined) return;
  const script = `ip link set lo up; mkdir -p /run/netns; mount -t tmpfs tmpfs /run/netns; ${prepare} exec "$0" "$@"`;
  const own = ['--net', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const { status } = spawnSync(
    'unshare',
    [...own, 'sh', '-c', script, process.execPath, '--expose-gc', program, ...process.argv.slice(2)],
    { stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' } },
  );
  after?.();
  process.exit(status ?? 1);
}

/** How long the work takes, in milliseconds. */
export async function timed(work: () => unknown): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

export class ContainerStage {
  /** Layers, logs, state and storage. */
  readonly directory: string;
  /** As on a device, where bundles lie in /run. */
  readonly memory: string;
  readonly cgroups: Cgroups;
  readonly #item: InstalledItem;
  readonly #host: NetworkHost;
  readonly #networks: ReturnType<NetworkHost['manager']>;
  readonly #runtime: ContainerRuntime;
  readonly #programs: HelperShell;

  private constructor(
    place: { readonly directory: string; readonly memory: string; readonly cgroups: Cgroups },
    clock: StepClock,
    runtime: ContainerRuntime,
    programs: HelperShell,
  ) {
    this.#programs = programs;
    this.directory = place.directory;
    this.memory = place.memory;
    this.cgroups = place.cgroups;
    this.#item = makeItem(place.directory);
    this.#runtime = runtime;
    // What is durable on a device is durable here, and costs its time.
    const database = new DatabaseSync(join(place.directory, 'networks.db'));
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
    this.#host = new NetworkHost(database);
    this.#networks = this.#host.manager({
      vlan: 'off',
      withIpv6: false,
      links: clock.watch('network', ['batch', 'shape', 'list', 'tryAll', 'routes'], new HostLinks(programs)),
      nft: clock.watch('firewall', ['apply', 'list'], new HostNft(programs)),
    });
  }

  /** The clock hears of each step. */
  static async open(clock: StepClock): Promise<ContainerStage> {
    const directory = await mkdtemp(join(tmpdir(), 'aos-bench-'));
    const memory = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'aos-bench-'));
    const place = { directory, memory, cgroups: new Cgroups() };
    const programs = new HelperShell({ shell: '/bin/sh', name: 'host' });
    const stage = new ContainerStage(place, clock, await openRuntime(place, clock, programs), programs);
    await stage.#networks.adopt([], patience());
    return stage;
  }

  info(index: number): InstanceInfo {
    return {
      ident: { itemId: 'bench', subjectId: randomUUID(), instance: index, type: 'service', preinstalled: false },
      ...{ version: '1.0.0', manifestDigest: 'sha256:00', ownerId: 'red', runtimeId: '', priority: 0, envVars: [] },
      ...{ uid: 5000 + index, gid: 5000, storagePath: `${index}`, statePath: `${index}.dat` },
    };
  }

  bundleOf({ ident }: InstanceInfo): string {
    return join(this.memory, 'runtime', instanceId(ident));
  }

  /** As the launcher does it. */
  async start(infos: readonly InstanceInfo[]): Promise<void> {
    const requests = infos.map((each) => ({ info: each, item: this.#item }));
    const starts: Promise<void>[] = [];
    for (const part of growingParts(requests)) {
      const given = await this.#networks.start(part, patience());
      for (const request of part) {
        const network = given.get(instanceId(request.info.ident));
        if (network === undefined || network instanceof AosError) throw network ?? new Error('no network');
        starts.push(this.#runtime.start({ ...request, network }, patience()));
      }
    }
    await Promise.all(starts);
  }

  async stop(infos: readonly InstanceInfo[]): Promise<void> {
    const ids = infos.map(({ ident }) => instanceId(ident));
    await Promise.all(ids.map((id) => this.#runtime.stop(id, patience())));
    await this.#networks.stop(ids, patience());
  }

  /** Also of what a failure has left. */
  async close(): Promise<void> {
    await this.#runtime.adopt([], new Map(), patience());
    await this.#runtime.close();
    await this.#networks.withdraw(patience());
    this.#host.remove();
    await this.#programs.close();
    for (const each of [this.memory, this.directory]) await rm(each, { recursive: true, force: true });
  }
}

async function openRuntime(
  { directory, memory, cgroups }: Pick<ContainerStage, 'directory' | 'memory' | 'cgroups'>,
  clock: StepClock,
  programs: HelperShell,
): Promise<ContainerRuntime> {
  const engine = await createOciEngine({
    wish: { type: 'crun' },
    stateRoot: join(memory, 'oci'),
    cgroups,
    helperCgroup: HELPERS_CGROUP,
    bundleRoot: join(memory, 'runtime'),
    log: 'file',
    logger: silentLogger,
  });
  const roots = await ContainerRoots.open({
    ...{ workingDir: join(directory, 'work'), hostBinds: [] },
    mounts: new HostMounts(systemClock, programs),
  });
  return new ContainerRuntime({
    type: 'crun',
    node: BENCH_NODE,
    engine: clock.watch('runtime', ['run', 'remove', 'forget'], engine),
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

function makeItem(directory: string): InstalledItem {
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
