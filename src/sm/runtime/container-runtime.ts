/** The containers of this node: starts, stops, restarts and adopts them (spec/sm.md 5, spec/decisions.md 5). */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import {
  AosError,
  asAosError,
  type Clock,
  instanceId,
  instanceName,
  type Logger,
  runtimeId,
  systemClock,
} from '../../core/index.ts';
import type { Cgroups } from '../../platform/cgroup/index.ts';
import { type ContainerEngine, readExitFile } from '../../platform/oci-runtime/index.ts';
import { cgroupsOf, identifyProcess, type ProcessIdentity } from '../../platform/proc/index.ts';
import type { InstalledItem, InstanceInfo, NodeInfo, RuntimeInfo, StartRequest } from '../model.ts';
import type { NodeResources } from '../resources/index.ts';
import { Slots } from '../slots.ts';
import type { SupervisionStore } from '../supervision/index.ts';
import { cgroupPathOf } from './build-oci-config.ts';
import { Bundle } from './bundle.ts';
import type { DataDirectories } from './container-mounts.ts';
import { InstanceLogs } from './instance-logs.ts';
import type { InstanceParts } from './instance-parts.ts';
import { launchRecord } from './launch-record.ts';
import { type Measure, prepareBundle, UNMEASURED } from './prepare-bundle.ts';
import { ContainerProbes } from './probe-container.ts';
import { removeContainer } from './remove-container.ts';
import type {
  AdoptedInstance,
  ContainerRoots,
  InstanceChange,
  LaunchRecord,
  RunningInstance,
} from './runtime-model.ts';
import { SeccompFilter } from './seccomp-filter.ts';
import { SupervisedInstance } from './supervised-instance.ts';

/** Most instances of a runtime (spec/decisions.md 8.3). */
const MAX_INSTANCES = 1024;
/** Containers that the runtime starts, or removes, at the same time (spec/decisions.md 8.3). */
const PARALLEL = Math.max(4, 2 * availableParallelism());
/** Safety net for exits (spec/decisions.md 8.2). */
const SWEEP_MS = 10_000;
/** Bound of removing what nobody claims. */
const LEFTOVER_MS = 30_000;

export interface ContainerRuntimeOptions {
  /** `crun`, `runc`: the name that items ask for. */
  readonly type: string;
  readonly node: NodeInfo;
  readonly engine: ContainerEngine;
  readonly cgroups: Cgroups;
  readonly roots: ContainerRoots;
  readonly resources: NodeResources;
  readonly store: SupervisionStore;
  /** Bundles of instances; on a file system that a power cut empties. */
  readonly runtimeDir: string;
  /** Logs of instances, when there is no journal; they outlive the instance's run. */
  readonly logDir: string;
  readonly directories: DataDirectories;
  readonly stopTimeoutMs: number;
  /** Absent: no filter of system calls. */
  readonly seccomp?: unknown;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** Hears of the steps of each start and stop. For benches. */
  readonly measure?: Measure;
}

/** What whoever runs a command must start, with the description of the process on its file descriptor 3. */
export interface Execution {
  readonly words: readonly string[];
  /** OCI `process`, JSON. */
  readonly process: string;
}

const PROCESS_FILE = '/dev/fd/3';

export class ContainerRuntime {
  readonly runtimeId: string;
  readonly type: string;
  readonly #options: ContainerRuntimeOptions;
  readonly #parts: InstanceParts;
  readonly #instances = new Map<string, SupervisedInstance>();
  readonly #listeners = new Set<(change: InstanceChange) => void>();
  readonly #seccomp: SeccompFilter;
  readonly #logs: InstanceLogs;
  readonly #sweeper: NodeJS.Timeout;

  constructor(options: ContainerRuntimeOptions) {
    this.#options = options;
    this.type = options.type;
    this.runtimeId = runtimeId(options.type, options.node.nodeId);
    const { engine, cgroups, roots, store, logger, clock = systemClock, measure = UNMEASURED } = options;
    this.#parts = {
      ...{ engine, cgroups, roots, store, logger, clock, measure },
      slots: new Slots(PARALLEL),
      endSlots: new Slots(PARALLEL),
      probeOnce: new ContainerProbes(engine).once,
      launched: (id) => this.#seccomp.learnFrom(id),
      emit: (change) => {
        for (const listener of this.#listeners) listener(change);
      },
    };
    this.#seccomp = new SeccompFilter(options.seccomp, engine);
    this.#logs = new InstanceLogs(options.logDir);
    this.#sweeper = setInterval(() => {
      for (const instance of this.#instances.values()) instance.sweep();
    }, SWEEP_MS).unref();
  }

  /** Throws `invalidArgument` when the node has no processors to describe. */
  info(): RuntimeInfo {
    const { node } = this.#options;
    const cpu = node.cpus[0];
    if (cpu === undefined) throw new AosError('invalidArgument', 'the node information of IAM names no processor');
    return { runtimeId: this.runtimeId, type: this.type, maxInstances: MAX_INSTANCES, os: node.os, arch: cpu.arch };
  }

  /** Where the data of its instances lies. */
  get directories(): DataDirectories {
    return this.#options.directories;
  }

  onChange(listener: (change: InstanceChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  instances(): RunningInstance[] {
    return [...this.#instances.values()].map((instance) => instance.report);
  }

  /**
   * How a person runs a command in an instance: with the user, environment, capabilities and limits of its own first
   * process. Throws `wrongState` unless it is active.
   */
  async execution(id: string, command: readonly string[], terminal: boolean): Promise<Execution> {
    const instance = this.#instances.get(id);
    if (instance?.state !== 'active') {
      const state = instance?.state ?? 'not here';
      throw new AosError('wrongState', `the instance is ${state}; only an active one can run a command`);
    }
    const { dir } = new Bundle(this.#options.runtimeDir, id);
    const { process: first } = JSON.parse(await readFile(join(dir, 'config.json'), 'utf8')) as { process: object };
    return {
      words: this.#options.engine.execLine(id, PROCESS_FILE),
      process: JSON.stringify({ ...first, args: command, terminal }),
    };
  }

  /** Resolves when it is active. Throws `alreadyExist` when it is already, else what went wrong. */
  async start(request: StartRequest, signal: AbortSignal): Promise<void> {
    const { info } = request;
    const id = instanceId(info.ident);
    const known = this.#instances.get(id);
    if (known?.state === 'active') {
      throw new AosError('alreadyExist', `${instanceName(info.ident)} runs already`, { fields: { id } });
    }
    if (known) await this.#makeWay(known, signal);
    const record = launchRecord(request, this.#options.stopTimeoutMs);
    const bundle = new Bundle(this.#options.runtimeDir, id);
    const instance = new SupervisedInstance(this.#parts, bundle, record, this.#logs.file(id));
    this.#instances.set(id, instance);
    await instance.start(async (either) => {
      const { roots, resources, directories, node, measure } = this.#options;
      const numCores = node.cpus.reduce((sum, cpu) => sum + cpu.numCores, 0);
      const parts = {
        roots,
        resources,
        directories,
        seccomp: this.#seccomp,
        measure,
        node: { maxDmips: node.maxDmips, numCores },
      };
      this.#logs.prepare();
      return await prepareBundle(bundle, request, parts, either);
    }, signal);
  }

  /** Stops by instance id and gives everything back. Throws `notFound`, or the first thing that could not be done. */
  async stop(id: string, signal: AbortSignal): Promise<void> {
    const instance = this.#instances.get(id);
    if (!instance) throw new AosError('notFound', `no instance ${id} runs on this node`, { fields: { id } });
    await this.#stop(instance, signal);
  }

  async #stop(instance: SupervisedInstance, signal: AbortSignal): Promise<void> {
    try {
      await instance.stop(signal);
    } finally {
      // What has left something stays, so that whoever asks again has it tried again.
      if (!instance.isHeld && this.#instances.get(instance.id) === instance) this.#instances.delete(instance.id);
    }
  }

  /** What is left of a former start; what cannot be removed shows in the new start, if it matters. */
  async #makeWay(known: SupervisedInstance, signal: AbortSignal): Promise<void> {
    try {
      await this.#stop(known, signal);
    } catch (error) {
      this.#options.logger.warn({ id: known.id, error: asAosError(error).message }, 'a former start left something');
    }
  }

  /** Something of it runs, or will be started again by this runtime. */
  holds(id: string): boolean {
    return this.#instances.get(id)?.isHeld ?? false;
  }

  /** The instance is gone for good: what is remembered of it goes too. */
  forget(id: string): void {
    this.#options.store.forget(id);
    this.#logs.forget(id);
  }

  /**
   * Takes over what runs as one of the known instances was to run, and removes everything else (spec/decisions.md 5.6
   * steps 1 to 4). A known instance whose process ended meanwhile is restarted as if it had just ended. How to supervise
   * each is in its bundle, so their items may be gone.
   */
  async adopt(
    known: readonly InstanceInfo[],
    _items: ReadonlyMap<string, InstalledItem>,
    signal: AbortSignal,
  ): Promise<readonly AdoptedInstance[]> {
    const { runtimeDir, engine } = this.#options;
    await mkdir(runtimeDir, { recursive: true, mode: 0o755 });
    const wanted = new Map(known.map((info) => [instanceId(info.ident), info]));
    const present = new Set([...(await readdir(runtimeDir)), ...(await engine.list())]);
    const adopted = await Promise.all([...present].map((id) => this.#adoptOrRemove(id, wanted.get(id), signal)));
    await this.#logs.prune(new Set(wanted.keys()), (this.#options.clock ?? systemClock).now());
    return adopted.filter((instance) => instance !== undefined);
  }

  async #adoptOrRemove(
    id: string,
    info: InstanceInfo | undefined,
    signal: AbortSignal,
  ): Promise<AdoptedInstance | undefined> {
    const bundle = new Bundle(this.#options.runtimeDir, id);
    const record = info && (await this.#readRecord(bundle));
    // Another version of the instance may be running; it is not the one that is wanted.
    if (!record || !isDeepStrictEqual(record.info, JSON.parse(JSON.stringify(info)))) {
      await this.#removeLeftover(bundle, signal);
      return undefined;
    }
    const process = findContainer(bundle, record, this.#options.cgroups);
    const instance = new SupervisedInstance(this.#parts, bundle, record, this.#logs.file(id));
    this.#instances.set(id, instance);
    instance.adopt(process);
    const { state, because, pid, error } = instance.report;
    return { id, ident: info.ident, state, because, error, pid, hasPermissions: record.hasPermissions };
  }

  async #readRecord(bundle: Bundle): Promise<LaunchRecord | undefined> {
    try {
      if (this.#options.engine.isCreatedOnly(bundle.id)) return undefined;
      const record = await bundle.readRecord();
      const process = record?.process ?? (await lateIdentity(bundle));
      // Without a process, and without the end of one, it has not come to run: nothing of it is worth keeping.
      if (!process && !readExitFile(bundle.exitDir, bundle.id)) return undefined;
      return record && { ...record, process };
    } catch (error) {
      this.#options.logger.warn({ id: bundle.id, error: asAosError(error).message }, 'its bundle is of no use');
      return undefined;
    }
  }

  /** Everything is tried; a failure is told and does not hold up the start of the others. */
  async #removeLeftover(bundle: Bundle, signal: AbortSignal): Promise<void> {
    const { engine, roots, cgroups, logger } = this.#options;
    const bound = AbortSignal.any([signal, AbortSignal.timeout(LEFTOVER_MS)]);
    try {
      cgroups.kill(cgroupPathOf(bundle.id));
      const byRuntime = () => engine.abandon(bundle.id, bundle.dir, bound);
      const complaint = await removeContainer(this.#options, bundle.id, false, byRuntime);
      if (complaint)
        logger.warn({ id: bundle.id, error: complaint.message }, 'a leftover was removed without its runtime');
      await roots.remove(bundle.id, bundle.dir, bound);
      await bundle.remove();
      // crun leaves the cgroup of one that was created and killed before it has begun.
      cgroups.remove(cgroupPathOf(bundle.id));
      logger.info({ id: bundle.id }, 'removed a container that no instance of this node claims');
    } catch (error) {
      logger.warn({ id: bundle.id, error: asAosError(error).message }, 'a leftover container could not be removed');
    }
  }

  /** Ends the supervision. Containers go on and can be adopted by the next SM. */
  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    await Promise.all([...this.#instances.values()].map((instance) => instance.leave()));
    this.#instances.clear();
    await this.#options.engine.close();
  }
}

/** An SM that was killed between the start and its record: the runtime's own pid file knows. */
async function lateIdentity(bundle: Bundle): Promise<ProcessIdentity | undefined> {
  const pid = await bundle.readPid();
  return pid === undefined ? undefined : identifyProcess(pid);
}

/** The first process of the container, if exactly that one still runs (spec/decisions.md 5.2). */
function findContainer(bundle: Bundle, { process }: LaunchRecord, cgroups: Cgroups): ProcessIdentity | undefined {
  if (!process) return undefined;
  const now = identifyProcess(process.pid);
  if (now?.startTime !== process.startTime) return undefined;
  const path = cgroupPathOf(bundle.id);
  const isInside = cgroupsOf(process.pid).some((cgroup) => cgroup === path || cgroup.startsWith(`${path}/`));
  return isInside && cgroups.processes(path).length > 0 ? process : undefined;
}
