/** Usage of the node and of its instances: measured, averaged, watched, sent (spec/sm.md 8). */
import { isDeepStrictEqual } from 'node:util';
import { identMessage, timestampMessage } from '../../api/index.ts';
import { asAosError, type Clock, type InstanceIdent, instanceId, type Logger } from '../../core/index.ts';
import type { AlertRules } from '../../oci/index.ts';
import type { OutgoingMessage } from '../client/index.ts';
import type { InstanceInfo } from '../model.ts';
import { NORMAL, type RuleState, stepRule } from './alert-rule.ts';
import { type Averages, addSample, averageOf, type Sample, windowOf } from './average.ts';
import { instanceThresholds, nodeThresholds, type Thresholds } from './rules.ts';
import { busyPart, type CpuTimes, dmipsBetween } from './usage.ts';
import type { InstanceReading, Reading, UsageReader } from './usage-reader.ts';

export interface MonitoringOptions {
  readonly reader: UsageReader;
  /** Instances that run. */
  readonly running: () => readonly InstanceInfo[];
  readonly send: (message: OutgoingMessage) => void;
  readonly alert: (message: OutgoingMessage) => void;
  readonly pollPeriodMs: number;
  readonly averageWindowMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Someone whose usage is followed. */
interface Watched {
  averages?: Averages;
  thresholds: Thresholds;
  readonly rules: Map<string, RuleState>;
}

interface InstanceWatch extends Watched {
  readonly info: InstanceInfo;
  /** The reading before. */
  before?: { readonly cpuUs: number; readonly atMs: number };
}

const NO_TRAFFIC = { download: 0, upload: 0 };

export class Monitoring {
  readonly #options: MonitoringOptions;
  readonly #window: number;
  readonly #node: Watched = { thresholds: new Map(), rules: new Map() };
  /** By instance id. */
  readonly #instances = new Map<string, InstanceWatch>();
  readonly #abort = new AbortController();
  /** Since boot at first (T-60). */
  #cpuBefore: CpuTimes = { idle: 0, total: 0 };
  #newest = new Date(0);
  #running: Promise<void> | undefined;

  constructor(options: MonitoringOptions) {
    this.#options = options;
    this.#window = windowOf(options.averageWindowMs, options.pollPeriodMs);
  }

  /** New rules of the node; those whose values are the same keep their state (T-63). */
  setNodeRules(rules: AlertRules | undefined): void {
    replaceThresholds(this.#node, nodeThresholds(rules, this.#options.reader.node));
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  /** Averages of node and instances, for the CM's placing. */
  average(): OutgoingMessage {
    const empty: Sample = { cpu: 0, ram: 0, ...NO_TRAFFIC, partitions: {} };
    const node = this.#node.averages ? averageOf(this.#node.averages) : empty;
    const instances = [...this.#instances.values()].flatMap(({ info, averages }) =>
      averages ? [instanceMessage(info, averageOf(averages), this.#newest)] : [],
    );
    const value = { nodeMonitoring: dataMessage(node, this.#newest), instancesMonitoring: instances };
    return { case: 'averageMonitoring', value };
  }

  /** One round; public so that tests need not wait. */
  async poll(): Promise<void> {
    const { reader, running, send } = this.#options;
    this.#follow(running().filter(({ monitoring }) => monitoring !== undefined));
    const reading = await reader.read([...this.#instances.values()].map(({ info }) => info));
    const { at, monotonicMs } = reading;
    this.#newest = at;
    const samples: Sample[] = [];
    const instances: ReturnType<typeof instanceMessage>[] = [];
    for (const [id, watch] of this.#instances) {
      const read = reading.instances.get(id);
      if (!read) continue;
      const sample = this.#sample(watch, read, monotonicMs);
      this.#take(watch, sample, monotonicMs, at, watch.info.ident);
      samples.push(sample);
      instances.push(instanceMessage(watch.info, sample, at));
    }
    const node = this.#sampleNode(reading);
    this.#take(this.#node, node, monotonicMs, at);
    const nodeMonitoring = dataMessage(normalize(node, samples), at);
    send({ case: 'instantMonitoring', value: { nodeMonitoring, instancesMonitoring: instances } });
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      try {
        await this.#options.clock.sleep(this.#options.pollPeriodMs, signal);
        await this.poll();
      } catch (error) {
        if (signal.aborted) return;
        this.#options.logger.error({}, `cannot measure: ${asAosError(error).message}`);
      }
    }
  }

  #follow(infos: readonly InstanceInfo[]): void {
    const ids = new Set(infos.map(({ ident }) => instanceId(ident)));
    for (const id of this.#instances.keys()) if (!ids.has(id)) this.#instances.delete(id);
    for (const info of infos) {
      const id = instanceId(info.ident);
      if (isDeepStrictEqual(this.#instances.get(id)?.info, info)) continue;
      const thresholds = instanceThresholds(info.monitoring, this.#options.reader.node);
      this.#instances.set(id, { info, thresholds, rules: new Map() });
    }
  }

  #sampleNode({ cpu, ramBytes, traffic, partitions }: Reading): Sample {
    const dmips = this.#options.reader.node.maxDmips * busyPart(cpu, this.#cpuBefore);
    this.#cpuBefore = cpu;
    return { cpu: dmips, ram: ramBytes, ...(traffic ?? NO_TRAFFIC), partitions };
  }

  #sample(watch: InstanceWatch, read: InstanceReading, atMs: number): Sample {
    const { maxDmips, cpus } = this.#options.reader.node;
    const threads = cpus.reduce((sum, { numThreads }) => sum + numThreads, 0);
    const elapsedUs = (atMs - (watch.before?.atMs ?? atMs)) * 1000;
    const cpu = dmipsBetween(watch.before?.cpuUs, read.cpuUs, elapsedUs, { maxDmips, threads });
    watch.before = { cpuUs: read.cpuUs, atMs };
    return { cpu, ram: read.ramBytes, ...(read.traffic ?? NO_TRAFFIC), partitions: read.partitions };
  }

  #take(watched: Watched, sample: Sample, nowMs: number, at: Date, ident?: InstanceIdent): void {
    watched.averages = addSample(watched.averages, sample, this.#window);
    for (const [parameter, threshold] of watched.thresholds) {
      const value = amountOf(sample, parameter);
      if (value === undefined) continue;
      const { state, status } = stepRule(threshold, watched.rules.get(parameter) ?? NORMAL, value, nowMs);
      watched.rules.set(parameter, state);
      if (status) this.#options.alert(alertMessage(parameter.replace('partition ', ''), value, status, at, ident));
    }
  }
}

function replaceThresholds(watched: Watched, thresholds: Thresholds): void {
  for (const [parameter, before] of watched.thresholds) {
    const now = thresholds.get(parameter);
    const isSame = now && now.min === before.min && now.max === before.max && now.minTimeoutMs === before.minTimeoutMs;
    if (!isSame) watched.rules.delete(parameter);
  }
  watched.thresholds = thresholds;
}

function amountOf(sample: Sample, parameter: string): number | undefined {
  if (parameter.startsWith('partition ')) return sample.partitions[parameter.slice('partition '.length)];
  return Math.round(sample[parameter as 'cpu' | 'ram' | 'download' | 'upload']);
}

/** The node uses at least what its instances use (spec/sm.md 8.3). */
export function normalize(node: Sample, instances: readonly Sample[]): Sample {
  const sum = (of: (sample: Sample) => number) => instances.reduce((total, sample) => total + of(sample), 0);
  const partitions: Record<string, number> = { ...node.partitions };
  for (const instance of instances) {
    for (const [name, used] of Object.entries(instance.partitions))
      partitions[name] = Math.max(partitions[name] ?? 0, used);
  }
  return {
    cpu: Math.max(
      node.cpu,
      sum(({ cpu }) => cpu),
    ),
    ram: Math.max(
      node.ram,
      sum(({ ram }) => ram),
    ),
    download: Math.max(
      node.download,
      sum(({ download }) => download),
    ),
    upload: Math.max(
      node.upload,
      sum(({ upload }) => upload),
    ),
    partitions,
  };
}

function dataMessage(sample: Sample, at: Date) {
  const whole = (value: number) => BigInt(Math.max(0, Math.trunc(value)));
  return {
    timestamp: timestampMessage(at),
    cpu: whole(sample.cpu),
    ram: whole(sample.ram),
    download: whole(sample.download),
    upload: whole(sample.upload),
    partitions: Object.entries(sample.partitions).map(([name, used]) => ({ name, usedSize: whole(used) })),
  };
}

function instanceMessage({ ident, runtimeId }: InstanceInfo, sample: Sample, at: Date) {
  return { instance: identMessage(ident), runtimeId, monitoringData: dataMessage(sample, at) };
}

function alertMessage(
  parameter: string,
  value: number,
  status: string,
  at: Date,
  ident: InstanceIdent | undefined,
): OutgoingMessage {
  const quota = { parameter, value: BigInt(Math.trunc(value)), status };
  const AlertItem = ident
    ? ({ case: 'instanceQuotaAlert', value: { ...quota, instance: identMessage(ident) } } as const)
    : ({ case: 'systemQuotaAlert', value: quota } as const);
  return { case: 'alert', value: { timestamp: timestampMessage(at), AlertItem } };
}
