/** One pass over the host: what the monitoring, `aosctl top` and the metrics of a node are made of (spec/sm.md 8.1, 8.2). */
import { asAosError, type Clock, instanceId, type Logger } from '../../core/index.ts';
import type { InstanceInfo, NodeInfo } from '../model.ts';
import type { CpuTimes, InstanceUsage, UsageSource } from './usage.ts';

/** Bytes since the start of the day. */
export interface Traffic {
  readonly download: number;
  readonly upload: number;
}

/** Counters of the network. Undefined: nobody counts. */
export interface TrafficReader {
  node(): Traffic | undefined;
  instance(instanceId: string): Traffic | undefined;
}

export const NO_TRAFFIC_READER: TrafficReader = { node: () => undefined, instance: () => undefined };

export interface InstanceReading extends InstanceUsage {
  readonly info: InstanceInfo;
  /** `storages` and `states`, where the file system counts by user. */
  readonly partitions: Readonly<Record<string, number>>;
  readonly traffic: Traffic | undefined;
}

export interface Reading {
  /** Moment of the pass on the monotonic clock, and what the host believed the date was. */
  readonly monotonicMs: number;
  readonly at: Date;
  readonly cpu: CpuTimes;
  readonly ramBytes: number;
  /** Those that could be measured, by name. */
  readonly partitions: Readonly<Record<string, number>>;
  readonly traffic: Traffic | undefined;
  /** By instance id; one that ended meanwhile is left out. */
  readonly instances: ReadonlyMap<string, InstanceReading>;
}

export interface UsageReaderOptions {
  readonly node: NodeInfo;
  readonly usage: UsageSource;
  readonly traffic: TrafficReader;
  readonly cgroupPath: (instanceId: string) => string;
  /** Directories on whose file systems the data of an instance lies. */
  readonly dataPaths: (info: InstanceInfo) => DataPaths;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface DataPaths {
  readonly storage?: string | undefined;
  readonly state?: string | undefined;
}

type UsersByFileSystem = Map<number, ReadonlyMap<number, number> | undefined>;

export class UsageReader {
  readonly #options: UsageReaderOptions;
  /** Partitions that cannot be measured, told once. */
  readonly #missing = new Set<string>();

  constructor(options: UsageReaderOptions) {
    this.#options = options;
  }

  get node(): NodeInfo {
    return this.#options.node;
  }

  /** Throws when /proc cannot be read; everything else that fails is left out. */
  async read(infos: readonly InstanceInfo[]): Promise<Reading> {
    const { usage, traffic, clock } = this.#options;
    const monotonicMs = clock.monotonicMs();
    const cpu = usage.cpuTimes();
    const instances = new Map<string, InstanceReading>();
    const users: UsersByFileSystem = new Map();
    for (const info of infos) {
      const reading = await this.#instance(info, users);
      if (reading) instances.set(instanceId(info.ident), reading);
    }
    return {
      monotonicMs,
      at: clock.now(),
      cpu,
      ramBytes: usage.usedRam(),
      partitions: await this.#partitions(),
      traffic: traffic.node(),
      instances,
    };
  }

  async #partitions(): Promise<Record<string, number>> {
    const { node, usage, logger } = this.#options;
    const partitions: Record<string, number> = {};
    for (const { name, path } of node.partitions) {
      try {
        partitions[name] = await usage.partition(path);
        if (this.#missing.delete(name)) logger.info({ partition: name, path }, 'a partition can be measured again');
      } catch (error) {
        if (this.#missing.has(name)) continue;
        this.#missing.add(name);
        logger.warn({ partition: name, path }, `a partition is not measured: ${asAosError(error).message}`);
      }
    }
    return partitions;
  }

  async #instance(info: InstanceInfo, users: UsersByFileSystem): Promise<InstanceReading | undefined> {
    const { usage, cgroupPath, dataPaths, traffic } = this.#options;
    const id = instanceId(info.ident);
    const used = usage.instance(cgroupPath(id));
    if (!used) return undefined;
    const { storage, state } = dataPaths(info);
    const partitions: Record<string, number> = {};
    for (const [name, path] of [
      ['storages', storage],
      ['states', state],
    ] as const) {
      if (path === undefined) continue;
      const device = usage.fileSystemOf(path);
      if (device === undefined) continue;
      // One question answers for all users of a file system.
      if (!users.has(device)) users.set(device, await usage.users(path));
      const counted = users.get(device);
      if (counted) partitions[name] = counted.get(info.uid) ?? 0;
    }
    return { ...used, info, partitions, traffic: traffic.instance(id) };
  }
}
