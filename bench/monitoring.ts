/**
 * One pass of the monitoring: processor time and memory of reading the node and its instances, at 20, 100 and 250 of them,
 * from cgroups that are made for it. Needs root.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { silentLogger, systemClock } from '../src/core/index.ts';
import { Cgroups } from '../src/platform/cgroup/index.ts';
import type { InstanceInfo, NodeInfo } from '../src/sm/model.ts';
import { HostUsage, Monitoring, NO_TRAFFIC_READER, UsageReader } from '../src/sm/monitoring/index.ts';
import { formatTable, median, ms } from './table.ts';

const PASSES = 50;
const parent = `/aos-bench-${randomUUID()}`;
const cgroups = new Cgroups();

const rule = { durationMs: 60_000, minThreshold: 50, maxThreshold: 80 };
const instance = (index: number): InstanceInfo => ({
  ident: { itemId: 'bench', subjectId: 's', instance: index, type: 'service', preinstalled: false },
  ...{ version: '1.0.0', manifestDigest: '', ownerId: '', runtimeId: 'r', uid: 5000 + index, gid: 5000, priority: 0 },
  ...{ storagePath: '', statePath: '', envVars: [] },
  monitoring: { cpu: rule, ram: rule, partitions: [] },
});
const node: NodeInfo = {
  ...{ nodeId: 'n', nodeType: '', title: '', maxDmips: 10_000, totalRam: 2 ** 32 },
  os: { os: 'linux', version: '', features: [] },
  cpus: [{ numCores: 2, numThreads: 2, arch: { architecture: 'amd64', variant: '' } }],
  partitions: [{ name: 'root', types: [], path: '/', totalSize: 2 ** 36 }],
};

async function measure(count: number): Promise<(string | number)[]> {
  const infos = Array.from({ length: count }, (_, index) => instance(index));
  const paths = new Map<string, string>();
  const cgroupPath = (id: string): string => {
    const known = paths.get(id);
    if (known) return known;
    const path = `${parent}/${paths.size}`;
    for (const controller of ['cpu', 'cpuacct', 'memory']) {
      const directory = cgroups.directory(path, controller);
      if (directory) mkdirSync(directory, { recursive: true });
    }
    paths.set(id, path);
    return path;
  };
  const monitoring = new Monitoring({
    reader: new UsageReader({
      node,
      usage: new HostUsage({
        ...{ cgroups, clock: systemClock, logger: silentLogger },
        quota: { usage: async () => new Map() },
      }),
      ...{ traffic: NO_TRAFFIC_READER, cgroupPath, dataPaths: () => ({}), clock: systemClock, logger: silentLogger },
    }),
    ...{ running: () => infos, send: () => undefined, alert: () => undefined },
    ...{ pollPeriodMs: 35_000, averageWindowMs: 35_000, clock: systemClock, logger: silentLogger },
  });
  await monitoring.poll();
  const times: number[] = [];
  const heapBefore = process.memoryUsage().heapUsed;
  for (let pass = 0; pass < PASSES; pass += 1) {
    const { user, system } = process.cpuUsage();
    await monitoring.poll();
    const after = process.cpuUsage();
    times.push((after.user + after.system - user - system) / 1000);
  }
  const grown = Math.max(0, process.memoryUsage().heapUsed - heapBefore) / PASSES / 1024;
  return [
    count,
    ms(median(times)),
    ms(Math.min(...times)),
    `${((100 * median(times)) / 35_000).toFixed(3)} %`,
    `${grown.toFixed(0)} KiB`,
  ];
}

try {
  const rows: (string | number)[][] = [];
  for (const count of [20, 100, 250]) rows.push(await measure(count));
  console.log(
    formatTable({
      title: 'One pass of the monitoring',
      method: `Processor time of the process; median and best of ${PASSES} passes, and as a part of one core at 35 s.`,
      columns: ['instances', 'median', 'best', 'of one core', 'heap per pass, at most'],
      rows,
    }),
  );
} finally {
  cgroups.remove(parent);
}
