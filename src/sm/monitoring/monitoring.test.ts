import { beforeEach, describe, expect, test } from 'vitest';
import { AosError, silentLogger, systemClock } from '../../core/index.ts';
import type { OutgoingMessage } from '../client/index.ts';
import type { InstanceInfo, NodeInfo } from '../model.ts';
import { Monitoring, normalize } from './monitoring.ts';
import type { UsageSource } from './usage.ts';
import { UsageReader } from './usage-reader.ts';

const sample = (cpu: number, partitions: Record<string, number> = {}) => ({
  ...{ cpu, ram: cpu, download: 0, upload: 0 },
  partitions,
});

test('the node uses at least what its instances use together', () => {
  const total = normalize(sample(5, { data: 1 }), [sample(4, { data: 3 }), sample(4, { extra: 2 })]);
  expect(total).toMatchObject({ cpu: 8, ram: 8, partitions: { data: 3, extra: 2 } });
});

describe('a round', () => {
  const ident = { itemId: 'a', subjectId: 's', instance: 0, type: 'service', preinstalled: false } as const;
  let running: InstanceInfo[];
  let sent: OutgoingMessage[];
  let alerts: OutgoingMessage[];
  let usage: { cpu: [number, number]; ram: number; instance: { cpuUs: number; ramBytes: number } | undefined };
  let nowMs: number;
  let now: Date;
  let users: Map<number, number> | undefined;
  let partition: (path: string) => Promise<number>;
  let monitoring: Monitoring;

  beforeEach(() => {
    const monitored = { cpu: { durationMs: 0, minThreshold: 10, maxThreshold: 20 }, partitions: [] };
    running = [{ ident, runtimeId: 'r', uid: 5000, monitoring: monitored } as unknown as InstanceInfo];
    sent = [];
    alerts = [];
    usage = { cpu: [0, 0], ram: 100, instance: { cpuUs: 0, ramBytes: 10 } };
    users = new Map([[5000, 77]]);
    partition = async () => 42;
    nowMs = 0;
    now = new Date(1_000_000);
    const source: UsageSource = {
      cpuTimes: () => ({ idle: usage.cpu[0], total: usage.cpu[1] }),
      usedRam: () => usage.ram,
      partition: (path) => partition(path),
      instance: () => usage.instance,
      fileSystemOf: () => 1,
      users: async () => users,
    };
    const clock = { ...systemClock, monotonicMs: () => nowMs, now: () => now };
    const reader = new UsageReader({
      node: {
        ...{ nodeId: 'n', nodeType: '', title: '', maxDmips: 1000, totalRam: 1000 },
        os: { os: '', version: '', features: [] },
        cpus: [{ numCores: 2, numThreads: 2, arch: { architecture: '', variant: '' } }],
        partitions: [
          { name: 'data', types: [], path: '/data', totalSize: 100 },
          { name: 'logs', types: [], path: '/logs', totalSize: 100 },
        ],
      } as NodeInfo,
      usage: source,
      cgroupPath: (id) => id,
      dataPaths: () => ({ storage: '/data/storages', state: '/data/states' }),
      traffic: { node: () => ({ download: 7, upload: 8 }), instance: () => ({ download: 3, upload: 4 }) },
      clock,
      logger: silentLogger,
    });
    monitoring = new Monitoring({
      reader,
      running: () => running,
      send: (message) => sent.push(message),
      alert: (message) => alerts.push(message),
      ...{ pollPeriodMs: 1000, averageWindowMs: 1000 },
      clock,
      logger: silentLogger,
    });
  });

  const told = () =>
    alerts.map(({ value }) => {
      const { AlertItem } = value as { AlertItem: { value: { parameter: string; status: string; value: bigint } } };
      const { parameter, status, value: amount } = AlertItem.value;
      return `${parameter} ${status} ${amount}`;
    });
  const newest = () => sent.at(-1) as Extract<OutgoingMessage, { case: 'instantMonitoring' }>;

  test('[SM-48] [SM-49] node and instances are measured in DMIPS and bytes, with partitions and traffic, and sent', async () => {
    await monitoring.poll();
    usage.cpu = [50, 100];
    usage.instance = { cpuUs: 500_000, ramBytes: 20 };
    nowMs = 1000;
    await monitoring.poll();
    // Half of the processors' time; the instance: half a second of one of two threads in one second.
    expect(newest().value).toMatchObject({
      nodeMonitoring: { cpu: 500n, ram: 100n, download: 7n, upload: 8n },
      instancesMonitoring: [
        {
          instance: { itemId: 'a' },
          runtimeId: 'r',
          monitoringData: {
            ...{ cpu: 250n, ram: 20n, download: 3n, upload: 4n },
            partitions: [
              { name: 'storages', usedSize: 77n },
              { name: 'states', usedSize: 77n },
            ],
          },
        },
      ],
    });
    expect((newest().value.nodeMonitoring as { partitions: unknown }).partitions).toEqual([
      { name: 'data', usedSize: 42n },
      { name: 'logs', usedSize: 42n },
      // What instances occupy is shown for the node too.
      { name: 'storages', usedSize: 77n },
      { name: 'states', usedSize: 77n },
    ]);
  });

  test('where the file system does not count by user, an instance has no partitions, and all else', async () => {
    users = undefined;
    await monitoring.poll();
    expect(newest().value).toMatchObject({
      instancesMonitoring: [{ monitoringData: { ram: 10n, partitions: [] } }],
    });
  });

  test('[SM-48] [SM-62] a partition that vanishes is left out and its rule rests; when it is back it is measured again', async () => {
    monitoring.setNodeRules({
      partitions: [{ name: 'data', minTimeoutMs: 0, minThreshold: 10, maxThreshold: 40 }],
    });
    await monitoring.poll();
    partition = async (path) => {
      if (path === '/data') throw new AosError('notFound', 'no such mount');
      return 1;
    };
    await monitoring.poll();
    expect(newest().value).toMatchObject({
      nodeMonitoring: { partitions: [{ name: 'logs' }, { name: 'storages' }, { name: 'states' }] },
    });
    partition = async () => 50;
    await monitoring.poll();
    expect(told()).toEqual(['data raise 42', 'data continue 50']);
  });

  test('[X-21] a clock that jumps changes the times that are told, and no amount and no alert', async () => {
    monitoring.setNodeRules({ ram: { minTimeoutMs: 1500, minThreshold: 5, maxThreshold: 10 }, partitions: [] });
    for (const [second, date] of [
      [0, new Date('2026-01-01T00:00:00.250Z')],
      [1, new Date('1969-12-31T23:59:59.250Z')],
      [2, new Date('2038-01-01T00:00:00Z')],
    ] as const) {
      usage.instance = { cpuUs: second * 500_000, ramBytes: 20 };
      nowMs = second * 1000;
      now = date;
      await monitoring.poll();
    }
    expect(sent.map(({ value }) => value)).toMatchObject([
      { nodeMonitoring: { timestamp: { seconds: 1_767_225_600n, nanos: 250_000_000 } } },
      { nodeMonitoring: { timestamp: { seconds: -1n, nanos: 250_000_000 } } },
      { instancesMonitoring: [{ monitoringData: { cpu: 250n } }] },
    ]);
    expect(told().filter((words) => words.startsWith('ram'))).toEqual(['ram raise 100']);
  });

  test('[SM-49] a counter that goes back is that of a new container; one that leaps is cut at what the node has', async () => {
    for (const [second, cpuUs] of [
      [0, 9_000_000],
      [1, 200_000],
      [2, 2 ** 53],
    ] as const) {
      usage.instance = { cpuUs, ramBytes: 1 };
      nowMs = second * 1000;
      await monitoring.poll();
    }
    const cpu = sent.map(
      ({ value }) =>
        (value as { instancesMonitoring: { monitoringData: { cpu: bigint } }[] }).instancesMonitoring[0]?.monitoringData
          .cpu,
    );
    expect(cpu).toEqual([0n, 100n, 1000n]);
  });

  test('an instance that ended while it was measured is left out, the others are sent', async () => {
    usage.instance = undefined;
    await monitoring.poll();
    expect(newest().value).toMatchObject({ instancesMonitoring: [], nodeMonitoring: { ram: 100n } });
  });

  test('[SM-50] averages are answered for node and instances, with the time of the newest sample', async () => {
    await monitoring.poll();
    const { value } = monitoring.average() as Extract<OutgoingMessage, { case: 'averageMonitoring' }>;
    expect(value).toMatchObject({
      nodeMonitoring: { ram: 100n },
      instancesMonitoring: [{ monitoringData: { ram: 10n } }],
    });
    expect((value.nodeMonitoring as { timestamp: { seconds: bigint } }).timestamp.seconds).toBeGreaterThan(0n);
  });

  test('[SM-51] [SM-52] rules of the node and of an instance raise alerts that name parameter and value', async () => {
    monitoring.setNodeRules({ ram: { minTimeoutMs: 0, minThreshold: 5, maxThreshold: 10 }, partitions: [] });
    await monitoring.poll();
    usage.instance = { cpuUs: 1_000_000, ramBytes: 20 };
    nowMs = 1000;
    await monitoring.poll();
    expect(alerts.map(({ value }) => (value as { AlertItem: unknown }).AlertItem)).toMatchObject([
      { case: 'systemQuotaAlert', value: { parameter: 'ram', value: 100n, status: 'raise' } },
      {
        case: 'instanceQuotaAlert',
        value: { instance: { itemId: 'a' }, parameter: 'cpu', value: 500n, status: 'raise' },
      },
      { case: 'systemQuotaAlert', value: { parameter: 'ram', value: 100n, status: 'continue' } },
    ]);
  });

  test('a new node config with the same values does not forget that an alert was raised', async () => {
    const ram = { minTimeoutMs: 60_000, minThreshold: 5, maxThreshold: 10 };
    monitoring.setNodeRules({ ram: { ...ram, minTimeoutMs: 0 }, partitions: [] });
    await monitoring.poll();
    monitoring.setNodeRules({ ram: { ...ram, minTimeoutMs: 0 }, partitions: [] });
    await monitoring.poll();
    expect(
      alerts.map(({ value }) => JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? Number(v) : v))),
    ).toHaveLength(2);
    expect(JSON.stringify(alerts[1], (_, v) => (typeof v === 'bigint' ? Number(v) : v))).toContain('continue');
  });
});
