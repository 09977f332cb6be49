import { expect, test } from 'vitest';
import type { InstanceUsageReport, UsageReport } from '../daemon/index.ts';
import { usageRates } from './usage-rates.ts';

const instance = (id: string, cpuUs: number, ramBytes = 1): InstanceUsageReport => ({
  ...{ id, itemId: id, subjectId: 's', instance: 0, version: '1', restarts: 0, cpuUs, ramBytes },
});

function report(
  second: number,
  cpu: readonly [number, number],
  instances: readonly InstanceUsageReport[],
): UsageReport {
  const [cpuIdle, cpuTotal] = cpu;
  return {
    ...{ at: '', monotonicMs: second * 1000, instances },
    node: {
      ...{ nodeId: 'n', maxDmips: 1000, threads: 2, cpuIdle, cpuTotal },
      ...{ ramBytes: 5, totalRamBytes: 10, partitions: [] },
    },
  };
}

test('two looks make a rate of all processors; the busiest comes first', () => {
  const before = report(0, [0, 0], [instance('a', 0), instance('b', 1_000_000)]);
  const now = report(2, [300, 400], [instance('a', 400_000), instance('b', 3_000_000)]);
  const { node, instances } = usageRates(before, now);
  expect(node).toMatchObject({ cpuPercent: 25, dmips: 250 });
  expect(instances.map(({ id, cpuPercent, dmips }) => [id, cpuPercent, dmips])).toEqual([
    ['b', 50, 500],
    ['a', 10, 100],
  ]);
});

test('a new instance, and one that began anew, begin with nothing', () => {
  const before = report(0, [0, 100], [instance('again', 900_000)]);
  const now = report(0, [0, 100], [instance('again', 5), instance('new', 900_000)]);
  expect(usageRates(before, now).instances.map(({ cpuPercent }) => cpuPercent)).toEqual([0, 0]);
  const later = report(1, [0, 100], [instance('again', 5), instance('new', 900_000)]);
  expect(usageRates(before, later).instances.map(({ cpuPercent }) => cpuPercent)).toEqual([0, 0]);
});
