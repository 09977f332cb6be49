/** Reading of resource usage from /proc and cgroups (spec/sm.md 8.1, 8.2). Parsers are pure. */
import { readFileSync, type StatsFs, statSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { AosError, asAosError, type Clock, type Logger } from '../../core/index.ts';
import type { Cgroups } from '../../platform/cgroup/index.ts';

/** Jiffies since boot. */
export interface CpuTimes {
  readonly idle: number;
  readonly total: number;
}

/** The first line of /proc/stat. */
export function parseCpuTimes(stat: string): CpuTimes {
  const numbers = (stat.split('\n', 1)[0] ?? '').trim().split(/\s+/).slice(1).map(Number);
  if (numbers.length < 4 || !numbers.every(Number.isFinite))
    throw new AosError('invalidArgument', '/proc/stat does not begin with the times of the processors');
  return { idle: numbers[3]!, total: numbers.reduce((sum, value) => sum + value, 0) };
}

/** Part of the time since `before` that the processors worked: 0 to 1. */
export function busyPart(now: CpuTimes, before: CpuTimes): number {
  const total = now.total - before.total;
  return total <= 0 ? 0 : Math.min(1, Math.max(0, 1 - (now.idle - before.idle) / total));
}

/** Bytes that programs use, from /proc/meminfo. */
export function parseUsedRam(meminfo: string): number {
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(meminfo)?.[1] ?? 0);
  const free = ['MemFree', 'Buffers', 'Cached', 'SReclaimable'].reduce((sum, name) => sum + kib(name), 0);
  return Math.max(0, kib('MemTotal') - free) * 1024;
}

export interface InstanceUsage {
  /** Processor time since its start, in microseconds. */
  readonly cpuUs: number;
  readonly ramBytes: number;
}

/**
 * Mean use of the processors between two looks, in DMIPS. The first look says nothing; a counter that went back is that
 * of a new container, which has used all of it since; nobody uses more than there is.
 */
export function dmipsBetween(
  beforeUs: number | undefined,
  nowUs: number,
  elapsedUs: number,
  { maxDmips, threads }: { readonly maxDmips: number; readonly threads: number },
): number {
  if (beforeUs === undefined || elapsedUs <= 0) return 0;
  const usedUs = nowUs - (beforeUs > nowUs ? 0 : beforeUs);
  return Math.min(maxDmips, (usedUs * maxDmips) / elapsedUs / Math.max(1, threads));
}

/** What the monitoring reads from the host. Files of the kernel are read at once: that is cheaper than a thread. */
export interface UsageSource {
  cpuTimes(): CpuTimes;
  usedRam(): number;
  /** Bytes used on the file system of a path. */
  partition(path: string): Promise<number>;
  /** Undefined: its cgroup is gone, or the host does not account. */
  instance(cgroupPath: string): InstanceUsage | undefined;
  /** Number of the file system that a path lies on; undefined: there is no such path. */
  fileSystemOf(path: string): number | undefined;
  /** Bytes that each user occupies on the file system of a path; undefined: nobody counts there. */
  users(path: string): Promise<ReadonlyMap<number, number> | undefined>;
}

/** After a failure the quotas of a file system are not asked for again before this. */
const QUOTA_PAUSE_MS = 600_000;
/** A disk that does not answer by then, such as one behind a network that is gone, is left out. */
const PARTITION_MS = 5_000;

export interface HostUsageOptions {
  readonly cgroups: Cgroups;
  readonly quota: { usage(path: string): Promise<ReadonlyMap<number, number>> };
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default: the one of the kernel. */
  readonly statfs?: (path: string) => Promise<Pick<StatsFs, 'blocks' | 'bfree' | 'bsize'>>;
}

export class HostUsage implements UsageSource {
  readonly #options: HostUsageOptions;
  /** Paths whose file system has no quotas, with the time of the next try. */
  readonly #withoutQuota = new Map<string, number>();
  /** Paths whose file system has not answered yet: each question holds a thread until then. */
  readonly #asked = new Map<string, Promise<number>>();

  constructor(options: HostUsageOptions) {
    this.#options = options;
  }

  cpuTimes(): CpuTimes {
    return parseCpuTimes(readFileSync('/proc/stat', 'utf8'));
  }

  usedRam(): number {
    return parseUsedRam(readFileSync('/proc/meminfo', 'utf8'));
  }

  async partition(path: string): Promise<number> {
    const asked = this.#asked.get(path) ?? this.#askPartition(path).finally(() => this.#asked.delete(path));
    this.#asked.set(path, asked);
    const answered = new AbortController();
    const giveUp = async () => {
      await this.#options.clock.sleep(PARTITION_MS, answered.signal);
      throw new AosError('timeout', `the file system at ${path} does not answer`);
    };
    return Promise.race([asked, giveUp()]).finally(() => answered.abort());
  }

  async #askPartition(path: string): Promise<number> {
    const { blocks, bfree, bsize } = await (this.#options.statfs ?? statfs)(path);
    return (blocks - bfree) * bsize;
  }

  instance(cgroupPath: string): InstanceUsage | undefined {
    const { cgroups } = this.#options;
    const isNew = cgroups.layout.version === 2;
    const cpu = isNew
      ? numberIn(/^usage_usec (\d+)/m, cgroups.read(cgroupPath, 'cpu', 'cpu.stat'))
      : numberIn(/^(\d+)/, cgroups.read(cgroupPath, 'cpuacct', 'cpuacct.usage'));
    const ram = numberIn(
      /^(\d+)/,
      cgroups.read(cgroupPath, 'memory', isNew ? 'memory.current' : 'memory.usage_in_bytes'),
    );
    if (cpu === undefined || ram === undefined) return undefined;
    return { cpuUs: isNew ? cpu : cpu / 1000, ramBytes: ram };
  }

  fileSystemOf(path: string): number | undefined {
    return statSync(path, { throwIfNoEntry: false })?.dev;
  }

  async users(path: string): Promise<ReadonlyMap<number, number> | undefined> {
    const { quota, clock, logger } = this.#options;
    const nowMs = clock.monotonicMs();
    if ((this.#withoutQuota.get(path) ?? Number.NEGATIVE_INFINITY) > nowMs) return undefined;
    try {
      return await quota.usage(path);
    } catch (error) {
      if (!this.#withoutQuota.has(path)) {
        logger.info({ path }, `storage of instances is not measured: ${asAosError(error).message}`);
      }
      this.#withoutQuota.set(path, nowMs + QUOTA_PAUSE_MS);
      return undefined;
    }
  }
}

function numberIn(pattern: RegExp, text: string | undefined): number | undefined {
  const found = text === undefined ? null : pattern.exec(text);
  return found ? Number(found[1]) : undefined;
}
