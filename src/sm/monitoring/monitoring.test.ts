import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { AosError, silentLogger, systemClock } from '../../core/index.ts';
import { type CgroupLayout, Cgroups } from '../../platform/cgroup/index.ts';
import type { OutgoingMessage } from '../client/index.ts';
import type { InstanceInfo, NodeInfo } from '../model.ts';
import { NORMAL, type RuleState, stepRule } from './alert-rule.ts';
import { type Averages, addSample, averageOf, windowOf } from './average.ts';
import { Monitoring, normalize } from './monitoring.ts';
import { instanceThresholds, nodeThresholds } from './rules.ts';
import { busyPart, dmipsBetween, HostUsage, parseCpuTimes, parseUsedRam, type UsageSource } from './usage.ts';
import { UsageReader } from './usage-reader.ts';

const sample = (cpu: number, partitions: Record<string, number> = {}) => ({
  ...{ cpu, ram: cpu, download: 0, upload: 0 },
  partitions,
});

describe('usage', () => {
  test('[SM-48] the busy part of the processors is what is not idle since the last look', () => {
    const before = parseCpuTimes('cpu  100 0 100 800 0 0 0\ncpu0 1 2 3 4');
    const now = parseCpuTimes('cpu  150 0 150 900 0 0 0\n');
    expect(busyPart(now, before)).toBeCloseTo(0.5);
    expect(busyPart(now, now)).toBe(0);
  });

  test('[SM-48] whatever the counters of the processors do, wrap or begin anew, a part is a part', () => {
    const times = fc.record({ idle: fc.double({ noNaN: true }), total: fc.double({ noNaN: true }) });
    fc.assert(
      fc.property(times, times, (now, before) => {
        const part = busyPart(now, before);
        expect(part).toBeGreaterThanOrEqual(0);
        expect(part).toBeLessThanOrEqual(1);
      }),
    );
  });

  test('[SM-48] used memory leaves out what the kernel would give back', () => {
    const meminfo = 'MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 200 kB\nSReclaimable: 50 kB\n';
    expect(parseUsedRam(meminfo)).toBe(600 * 1024);
  });
});

describe('what the host says', () => {
  const dmips = { maxDmips: 1000, threads: 2 };
  const quota = { usage: async () => new Map<number, number>() };
  const hostUsage = (given: ConstructorParameters<typeof HostUsage>[0]['quota'] = quota, nowMs = () => 0) =>
    new HostUsage({
      cgroups: new Cgroups(),
      quota: given,
      clock: { ...systemClock, monotonicMs: nowMs },
      logger: silentLogger,
    });

  test('[SM-49] processor time is a part of all threads, never negative and never more than there is', () =>
    fc.assert(
      fc.property(
        fc.option(fc.nat(), { nil: undefined }),
        fc.nat(),
        fc.integer({ max: 1e9 }),
        (before, now, elapsed) => {
          const used = dmipsBetween(before, now, elapsed, dmips);
          expect(used).toBeGreaterThanOrEqual(0);
          expect(used).toBeLessThanOrEqual(dmips.maxDmips);
        },
      ),
    ));

  test('[SM-48] processors, memory and file systems of this host are read', async () => {
    const usage = hostUsage();
    expect(usage.cpuTimes().total).toBeGreaterThan(usage.cpuTimes().idle);
    expect(usage.usedRam()).toBeGreaterThan(1e6);
    expect(await usage.partition('/')).toBeGreaterThan(0);
    await expect(usage.partition('/no such place')).rejects.toThrow(/ENOENT/);
    expect(usage.fileSystemOf('/no such place')).toBeUndefined();
  });

  test('a cgroup that is gone has no usage', () => {
    expect(hostUsage().instance('/there/is/none')).toBeUndefined();
  });

  /** A host with these files of cgroups. */
  async function withCgroups(layout: (root: string) => CgroupLayout, files: Readonly<Record<string, string>>) {
    const root = await mkdtemp(join(tmpdir(), 'aos-cgroups-'));
    try {
      for (const [path, content] of Object.entries(files)) {
        await mkdir(dirname(join(root, path)), { recursive: true });
        await writeFile(join(root, path), content);
      }
      const cgroups = new Cgroups(layout(root));
      return new HostUsage({ cgroups, quota, clock: systemClock, logger: silentLogger }).instance('/aos/web');
    } finally {
      await rm(root, { recursive: true });
    }
  }

  test('[SM-49] an instance is read from cgroups of version 1 and of version 2', async () => {
    const trees = (root: string) =>
      ['cpu,cpuacct', 'memory'].map((name) => ({ controllers: name.split(','), mountPoint: join(root, name) }));
    const old = (root: string): CgroupLayout => ({ version: 1, trees: trees(root), unified: undefined });
    const cpu = { 'cpu,cpuacct/aos/web/cpuacct.usage': '1234567890\n' };
    const ram = { 'memory/aos/web/memory.usage_in_bytes': '4096\n' };
    expect(await withCgroups(old, { ...cpu, ...ram })).toEqual({ cpuUs: 1_234_567.89, ramBytes: 4096 });
    expect(await withCgroups(old, cpu)).toBeUndefined();

    const unified = (root: string): CgroupLayout => ({ version: 2, trees: [{ controllers: [], mountPoint: root }] });
    const stat = 'usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\n';
    const both = { 'aos/web/cpu.stat': stat, 'aos/web/memory.current': '4096\n' };
    expect(await withCgroups(unified, both)).toEqual({ cpuUs: 1_234_567, ramBytes: 4096 });
    expect(await withCgroups(unified, { ...both, 'aos/web/cpu.stat': '' })).toBeUndefined();
  });

  test('quotas that cannot be read are not asked for again at each look', async () => {
    let asked = 0;
    let nowMs = 0;
    const usage = hostUsage(
      {
        usage: async () => {
          asked += 1;
          throw new AosError('runtime', 'no quotas here');
        },
      },
      () => nowMs,
    );
    for (nowMs = 0; nowMs < 600_000; nowMs += 35_000) expect(await usage.users('/')).toBeUndefined();
    expect(asked).toBe(1);
    nowMs = 700_000;
    await usage.users('/');
    expect(asked).toBe(2);
  });

  test('nonsense in /proc/stat is refused', () => {
    expect(() => parseCpuTimes('cpu  a b c d')).toThrow(/does not begin with the times/);
    expect(() => parseCpuTimes('')).toThrow(/does not begin with the times/);
  });
});

describe('averages', () => {
  function feed(values: readonly number[], window: number): number {
    let averages: Averages | undefined;
    for (const value of values) averages = addSample(averages, sample(value), window);
    return averageOf(averages!).cpu;
  }

  test('[SM-50] a window of one is the newest value, a window of three moves by a third', () => {
    expect(feed([10, 20, 31], 1)).toBe(31);
    expect(feed([30, 60], 3)).toBe(40);
    expect(feed([30, 60, 60], 3)).toBe(47);
  });

  test('a steady value is its own average, whatever the window', () =>
    fc.assert(
      fc.property(
        fc.nat(1_000_000),
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 20 }),
        (value, window, n) => {
          expect(
            feed(
              Array.from({ length: n }, () => value),
              window,
            ),
          ).toBe(value);
        },
      ),
    ));

  test('the window is at least one poll', () => {
    expect(windowOf(35_000, 35_000)).toBe(1);
    expect(windowOf(10_000, 35_000)).toBe(1);
    expect(windowOf(100_000, 35_000)).toBe(2);
  });

  test('a partition that comes later begins with its own value', () => {
    const first = addSample(undefined, sample(0), 4);
    expect(averageOf(addSample(first, sample(0, { data: 400 }), 4)).partitions.data).toBe(175);
  });
});

describe('alert rules', () => {
  const rule = { minTimeoutMs: 10, min: 70, max: 80 };

  function told(values: readonly [value: number, atMs: number][], of = rule): string[] {
    let state: RuleState = NORMAL;
    return values.flatMap(([value, atMs]) => {
      const step = stepRule(of, state, value, atMs);
      state = step.state;
      return step.status ? [`${step.status} ${atMs}`] : [];
    });
  }

  test('[SM-51] raised after the time above the upper threshold, continued, fallen after the time below the lower', () => {
    expect(
      told([
        [85, 0],
        [85, 5],
        [85, 10],
        [75, 15],
        [75, 20],
        [60, 25],
        [60, 30],
        [60, 35],
        [85, 40],
      ]),
    ).toEqual(['raise 10', 'continue 20', 'fall 35']);
  });

  test('[SM-51] a value between the thresholds neither raises nor ends an alert', () => {
    expect(
      told([
        [75, 0],
        [75, 100],
      ]),
    ).toEqual([]);
    expect(
      told([
        [85, 0],
        [85, 10],
        [60, 12],
        [75, 14],
        [60, 16],
        [60, 20],
      ]),
    ).toEqual(['raise 10']);
  });

  test('without a time the first sample raises, and a fall needs two', () => {
    expect(
      told(
        [
          [85, 0],
          [60, 1],
          [60, 2],
        ],
        { ...rule, minTimeoutMs: 0 },
      ),
    ).toEqual(['raise 0', 'fall 2']);
  });

  /** Any values at any distances, against any rule. */
  const stories = fc.tuple(
    fc.array(fc.tuple(fc.oneof(fc.nat(100), fc.constant(Number.NaN)), fc.nat(20)), { maxLength: 60 }),
    fc.record({ minTimeoutMs: fc.nat(40), min: fc.nat(70), max: fc.integer({ min: 70, max: 100 }) }),
  );

  interface Told {
    readonly status: string | undefined;
    readonly value: number;
    readonly atMs: number;
  }

  function follow(samples: readonly (readonly [number, number])[], of: typeof rule): Told[] {
    let state: RuleState = NORMAL;
    let atMs = 0;
    return samples.map(([value, afterMs]) => {
      atMs += afterMs;
      const step = stepRule(of, state, value, atMs);
      state = step.state;
      return { status: step.status, value, atMs };
    });
  }

  test('[SM-51] alerts of one rule are raise, any number of continue, fall, and again', () =>
    fc.assert(
      fc.property(stories, ([samples, of]) => {
        const kinds = follow(samples, of).map(({ status }) => status?.[0] ?? '');
        expect(kinds.join('')).toMatch(/^(rc*f)*(rc*)?$/);
      }),
    ));

  test('[SM-51] raised only after a whole time at or above the upper threshold', () =>
    fc.assert(
      fc.property(stories, ([samples, of]) => {
        const steps = follow(samples, of).filter(({ value }) => !Number.isNaN(value));
        for (const [index, { status, atMs }] of steps.entries()) {
          if (status !== 'raise') continue;
          const before = steps.slice(0, index + 1);
          const high = before.slice(before.findLastIndex(({ value }) => value < of.max) + 1);
          expect(atMs - high[0]!.atMs).toBeGreaterThanOrEqual(of.minTimeoutMs);
        }
      }),
    ));

  test('[SM-51] fallen only after a whole time, and two samples, below the lower threshold', () =>
    fc.assert(
      fc.property(stories, ([samples, of]) => {
        const steps = follow(samples, of).filter(({ value }) => !Number.isNaN(value));
        for (const [index, { status, atMs }] of steps.entries()) {
          if (status !== 'fall') continue;
          const before = steps.slice(0, index + 1);
          const low = before.slice(before.findLastIndex(({ value }) => value >= of.min) + 1);
          expect(low.length).toBeGreaterThan(1);
          expect(atMs - low[0]!.atMs).toBeGreaterThanOrEqual(of.minTimeoutMs);
        }
      }),
    ));

  test('[SM-51] a value that dances between the thresholds tells nothing before an alert, and does not end one', () =>
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 70, max: 79 }), fc.nat(20))), fc.boolean(), (dance, alert) => {
        const before: [number, number][] = alert ? [[90, 0]] : [];
        const of = { ...rule, minTimeoutMs: alert ? 0 : 10 };
        const kinds = new Set(follow([...before, ...dance], of).map(({ status }) => status));
        expect(kinds.has('fall')).toBe(false);
        if (!alert) expect([...kinds].filter(Boolean)).toEqual([]);
      }),
    ));

  test('what the alerts say at most: one in the time of the rule, apart from the fall', () =>
    fc.assert(
      fc.property(stories, ([samples, of]) => {
        const times = follow(samples, of).flatMap(({ status, atMs }) => (status && status !== 'fall' ? [atMs] : []));
        for (const [index, atMs] of times.entries()) {
          if (index > 0) expect(atMs - times[index - 1]!).toBeGreaterThanOrEqual(of.minTimeoutMs);
        }
      }),
    ));

  const node = {
    maxDmips: 10_000,
    totalRam: 1000,
    partitions: [{ name: 'data', types: [], path: '/', totalSize: 500 }],
  };

  test('[SM-62] percentages are of the node, cut to whole numbers; a partition that it does not have has no rule', () => {
    const percent = { minTimeoutMs: 1, minThreshold: 33.3, maxThreshold: 50 };
    const found = nodeThresholds(
      {
        cpu: percent,
        download: percent,
        partitions: [
          { name: 'data', ...percent },
          { name: 'none', ...percent },
        ],
      },
      node,
    );
    expect(Object.fromEntries(found)).toEqual({
      cpu: { minTimeoutMs: 1, min: 3330, max: 5000 },
      download: { minTimeoutMs: 1, min: 33.3, max: 50 },
      'partition data': { minTimeoutMs: 1, min: 166, max: 250 },
    });
  });

  test('thresholds in the wrong order are one threshold', () => {
    const cpu = { minTimeoutMs: 1, minThreshold: 60, maxThreshold: 50 };
    expect(nodeThresholds({ cpu, partitions: [] }, node).get('cpu')).toMatchObject({ min: 5000, max: 5000 });
  });

  test('[SM-52] percentages of an instance are of the node too', () => {
    const cpu = { durationMs: 5, minThreshold: 10, maxThreshold: 20 };
    expect(instanceThresholds({ cpu, partitions: [] }, node).get('cpu')).toEqual({
      minTimeoutMs: 5,
      min: 1000,
      max: 2000,
    });
  });
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
