/** A container runtime with real containers for tests: busybox as the root, everything below one temporary directory. */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { instanceId, silentLogger } from '../../core/index.ts';
import { ImageConfig, ItemConfig, type ItemConfigDocument } from '../../oci/index.ts';
import { Cgroups } from '../../platform/cgroup/index.ts';
import { createOciEngine, type OciEngineOptions } from '../../platform/oci-runtime/index.ts';
import type { InstalledItem, InstanceInfo, InstanceNetwork, NodeInfo } from '../model.ts';
import { type NodeResource, NodeResources } from '../resources/index.ts';
import { MemorySupervisionStore } from '../supervision/index.ts';
import { ContainerRuntime } from './container-runtime.ts';
import { HELPERS_CGROUP } from './oci-base.ts';
import type { ContainerRoots, InstanceChange, RootRequest } from './runtime-model.ts';
import { defaultSeccomp } from './seccomp.ts';

const APPLETS = [
  'sh',
  'sleep',
  'cat',
  'env',
  'id',
  'true',
  'ls',
  'touch',
  'mount',
  'ulimit',
  'dd',
  'nc',
  'httpd',
  'ps',
  'kill',
];

/** Roots without any mount on the host: a directory with busybox. */
export class BusyboxRoots implements ContainerRoots {
  async prepare({ bundleDir }: RootRequest) {
    const path = join(bundleDir, 'rootfs');
    await mkdir(join(path, 'bin'), { recursive: true });
    await copyFile('/bin/busybox', join(path, 'bin', 'busybox'));
    for (const applet of APPLETS) await symlink('busybox', join(path, 'bin', applet));
    return { path, mounts: [] };
  }

  async remove() {
    // It goes with the bundle.
  }
}

export const NODE: NodeInfo = {
  nodeId: 'node0',
  nodeType: 'main',
  title: '',
  maxDmips: 10_000,
  totalRam: 1024 ** 3,
  os: { os: 'linux', version: '', features: [] },
  cpus: [{ numCores: 4, numThreads: 4, arch: { architecture: 'amd64', variant: '' } }],
  partitions: [],
};

export const LOOPBACK: InstanceNetwork = { hosts: [], dnsServers: [], hostname: '' };

export interface ServiceOptions {
  readonly config?: ItemConfigDocument;
  readonly image?: Record<string, unknown>;
}

/** An item that runs a shell script. */
export function service(script: string, { config = {}, image = {} }: ServiceOptions = {}): InstalledItem {
  return {
    itemId: 'service',
    type: 'service',
    version: '1.0.0',
    manifestDigest: 'sha256:00',
    manifest: { schemaVersion: 2, config: { mediaType: '', digest: 'sha256:00', size: 0 }, layers: [] } as never,
    imageConfig: ImageConfig.parse({ architecture: 'amd64', config: { cmd: ['/bin/sh', '-c', script], ...image } }),
    itemConfig: ItemConfig.parse(config),
    layers: [],
    layerOrderBecause: '',
    files: [],
  };
}

/** A world of its own; `close` gives everything back, also after a failure. */
export class RuntimeWorld {
  readonly directory: string;
  readonly changes: InstanceChange[] = [];
  readonly store = new MemorySupervisionStore();
  readonly cgroups = new Cgroups();
  #wakers = new Set<() => void>();
  #count = 0;
  runtime!: ContainerRuntime;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async create(resources: readonly NodeResource[] = [], type = 'crun'): Promise<RuntimeWorld> {
    const world = await RuntimeWorld.closed();
    await world.open(resources, type);
    return world;
  }

  /** Not opened yet. */
  static async closed(): Promise<RuntimeWorld> {
    return new RuntimeWorld(await mkdtemp(join(tmpdir(), 'aos-runtime-')));
  }

  /** In a directory of another process. */
  static async at(directory: string): Promise<RuntimeWorld> {
    const world = new RuntimeWorld(directory);
    await world.open();
    return world;
  }

  /** As an SM that starts: a new runtime over the same directories. */
  async open(
    resources: readonly NodeResource[] = [],
    type = 'crun',
    engineOptions: Partial<OciEngineOptions> = {},
  ): Promise<ContainerRuntime> {
    const at = (name: string) => join(this.directory, name);
    const engine = await createOciEngine({
      wish: { type },
      stateRoot: at('oci'),
      cgroups: this.cgroups,
      helperCgroup: HELPERS_CGROUP,
      log: 'file',
      logger: silentLogger,
      ...engineOptions,
    });
    this.runtime = new ContainerRuntime({
      type,
      node: NODE,
      engine,
      cgroups: this.cgroups,
      roots: new BusyboxRoots(),
      resources: new NodeResources(resources),
      store: this.store,
      runtimeDir: at('runtime'),
      logDir: at('log'),
      directories: { stateDir: at('states'), storageDir: at('storages') },
      stopTimeoutMs: 5_000,
      seccomp: defaultSeccomp(),
      logger: silentLogger,
    });
    this.runtime.onChange((change) => {
      this.changes.push(change);
      for (const wake of this.#wakers) wake();
    });
    return this.runtime;
  }

  /** An instance that no other test knows. */
  info(more: Partial<InstanceInfo> = {}): InstanceInfo {
    this.#count += 1;
    return {
      ident: {
        itemId: 'service',
        subjectId: `subject-${randomUUID()}`,
        instance: this.#count,
        type: 'service',
        preinstalled: false,
      },
      version: '1.0.0',
      manifestDigest: 'sha256:00',
      ownerId: 'owner',
      runtimeId: this.runtime.runtimeId,
      uid: 5001,
      gid: 5002,
      priority: 0,
      storagePath: '',
      statePath: '',
      envVars: [],
      ...more,
    };
  }

  async start(script: string, options: ServiceOptions = {}, more: Partial<InstanceInfo> = {}): Promise<string> {
    const info = this.info(more);
    await this.runtime.start({ info, item: service(script, options), network: LOOPBACK }, AbortSignal.timeout(30_000));
    return instanceId(info.ident);
  }

  /** Waits until the changes so far fulfil a condition. */
  async until(accept: (changes: readonly InstanceChange[]) => boolean): Promise<void> {
    while (!accept(this.changes)) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#wakers.delete(wake);
          resolve();
        };
        this.#wakers.add(wake);
      });
    }
  }

  /** Waits until a service has written a file. */
  async untilFile(path: string, signal = AbortSignal.timeout(15_000)): Promise<void> {
    while (!existsSync(path)) await setTimeout(10, undefined, { signal });
  }

  async close(): Promise<void> {
    await this.runtime.close();
    const runtime = await this.open();
    // Nobody claims anything: everything is a leftover.
    await runtime.adopt([], new Map(), AbortSignal.timeout(30_000));
    await runtime.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}
