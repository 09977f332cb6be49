import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AosError, silentLogger, systemClock } from '../../core/index.ts';
import { type CgroupLayout, Cgroups } from '../../platform/cgroup/index.ts';
import { busyPart, dmipsBetween, HostUsage, parseCpuTimes, parseUsedRam } from './usage.ts';

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

  test('[SM-48] a partition that does not answer holds up nothing, and is asked again when it has answered', async () => {
    const answers: (() => void)[] = [];
    let isPatient = false;
    const sleep = (_: number, signal: AbortSignal) =>
      isPatient ? systemClock.sleep(60_000, signal) : Promise.resolve();
    const usage = new HostUsage({
      ...{ cgroups: new Cgroups(), quota, logger: silentLogger, clock: { ...systemClock, sleep } },
      statfs: () => new Promise((resolve) => answers.push(() => resolve({ blocks: 10, bfree: 4, bsize: 512 }))),
    });
    for (let look = 0; look < 3; look += 1) {
      await expect(usage.partition('/net')).rejects.toThrow('the file system at /net does not answer');
    }
    expect(answers).toHaveLength(1);
    isPatient = true;
    for (let look = 0; look < 2; look += 1) {
      const used = usage.partition('/net');
      answers[look]!();
      expect(await used).toBe(6 * 512);
    }
    expect(answers).toHaveLength(2);
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
