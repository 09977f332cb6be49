/**
 * B-01: starting and stopping instances with root, network, firewall, state and storage, beside bare containers by others on
 * the same machine in the same run; where the time goes; what an instance costs in memory.
 * `node bench/containers.ts [counts] [rounds]`, such as `1,20,100,250 3`; needs root, crun, conmon, dnsmasq and busybox.
 * Runs in namespaces of its own.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { silentLogger, systemClock } from '../src/core/index.ts';
import type { InstanceInfo } from '../src/sm/model.ts';
import { HostUsage, NO_TRAFFIC_READER, UsageReader } from '../src/sm/monitoring/index.ts';
import { cgroupPathOf } from '../src/sm/runtime/index.ts';
import { Rivals } from './container-rivals.ts';
import { BENCH_NODE, ContainerStage, enterOwnNamespaces, timed } from './container-stage.ts';
import { memoryOf } from './memory.ts';
import { StepClock } from './step-clock.ts';
import { formatTable, median, ms, ratio } from './table.ts';

enterOwnNamespaces(import.meta.filename);

const counts = (process.argv[2] ?? '1,20,100,250').split(',').map(Number);
const rounds = Number(process.argv[3] ?? 3);

const clock = new StepClock();
const stage = await ContainerStage.open(clock);
const usage = new UsageReader({
  node: BENCH_NODE,
  usage: new HostUsage({
    ...{ cgroups: stage.cgroups, clock: systemClock, logger: silentLogger },
    quota: { usage: async () => new Map() },
  }),
  ...{ traffic: NO_TRAFFIC_READER, cgroupPath: cgroupPathOf, dataPaths: () => ({}) },
  ...{ clock: systemClock, logger: silentLogger },
});
const rivals = await Rivals.create(stage.directory, stage.memory, Math.max(...counts));

/** Private and shared memory of the helpers of these instances, each. */
function helperMemory(infos: readonly InstanceInfo[]): { readonly privateBytes: number; readonly pssBytes: number } {
  const all = infos.map((info) => {
    const pid = readFileSync(join(stage.bundleOf(info), 'conmon.pid'), 'utf8');
    return memoryOf(Number(pid));
  });
  const mean = (read: (one: (typeof all)[number]) => number) =>
    all.reduce((sum, one) => sum + read(one), 0) / all.length;
  return { privateBytes: mean((one) => one.privateBytes), pssBytes: mean((one) => one.pssBytes) };
}

/** Bytes that the service manager needs, without garbage. */
function ownMemory(): number {
  (globalThis as { gc?: () => void }).gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const STEPS = ['network', 'firewall', 'resources', 'state', 'root file system', 'runtime', 'monitor'];
const STOP_STEPS = ['end of the process', 'runtime', 'root file system', 'bundle', 'network', 'firewall'];
const starts: string[][] = [];
const stops: string[][] = [];
const steps: string[][] = [];
const stopSteps: string[][] = [];
const costs: string[][] = [];
const kib = (bytes: number) => `${(bytes / 1024).toFixed(0)} KiB`;

try {
  for (const count of counts) {
    const infos = Array.from({ length: count }, (_, index) => stage.info(index));
    const times = {
      start: [] as number[],
      stop: [] as number[],
      steps: new Map<string, number[]>(),
      stopSteps: new Map<string, number[]>(),
    };
    const others = rivals.all
      .filter(({ most }) => count <= most)
      .map((rival) => ({ rival, start: [] as number[], remove: [] as number[] }));
    const before = ownMemory();
    let grown = 0;
    let helpers = { privateBytes: 0, pssBytes: 0 };
    for (let round = 0; round < rounds; round += 1) {
      for (const { rival, start, remove } of others) {
        start.push(await timed(() => rivals.start(rival, count)));
        remove.push(await timed(() => rivals.remove(rival, count)));
      }
      clock.take();
      times.start.push(await timed(() => stage.start(infos)));
      await clock.measure('monitor', () => usage.read(infos));
      for (const [step, took] of clock.take()) times.steps.set(step, [...(times.steps.get(step) ?? []), took]);
      grown = ownMemory() - before;
      helpers = helperMemory(infos);
      clock.take();
      times.stop.push(await timed(() => stage.stop(infos)));
      for (const [step, took] of clock.take()) times.stopSteps.set(step, [...(times.stopSteps.get(step) ?? []), took]);
    }
    const other = (name: string, what: 'start' | 'remove') => {
      const found = others.find(({ rival }) => rival.name.startsWith(name));
      return found === undefined ? Number.NaN : median(found[what]);
    };
    const row = (ours: readonly number[], what: 'start' | 'remove') => [
      String(count),
      ...['crun', 'runc', 'podman'].map((name) => (Number.isNaN(other(name, what)) ? '–' : ms(other(name, what)))),
      ms(median(ours)),
      ms(Math.min(...ours)),
      ratio(median(ours), other('crun', what)),
    ];
    starts.push(row(times.start, 'start'));
    stops.push(row(times.stop, 'remove'));
    steps.push([String(count), ...STEPS.map((step) => ms(median(times.steps.get(step) ?? [])))]);
    stopSteps.push([String(count), ...STOP_STEPS.map((step) => ms(median(times.stopSteps.get(step) ?? [])))]);
    costs.push([String(count), kib(helpers.privateBytes), kib(helpers.pssBytes), kib(grown / count)]);
  }
} finally {
  for (const rival of rivals.all) {
    // After a failure some of them are still there.
    try {
      rivals.remove(rival, Math.min(rival.most, Math.max(...counts)));
    } catch {
      // They were removed before, as they should have been.
    }
  }
  await stage.close();
  rivals.close();
}

const method = `Median of ${rounds} rounds in turns. Others: bare containers, one after the other. Ours: overlay root, bridge, link, address, firewall, counters, name, state, storage, cgroup limits, seccomp, conmon.`;
const names = ['crun run -d', 'runc run -d', 'podman run -d'];
console.log(
  formatTable({
    title: 'B-01: starting instances',
    method: `${method} Budget at 100: 1.30 × crun.`,
    columns: ['instances', ...names, 'ours', 'best', 'to crun'],
    rows: starts,
  }),
);
console.log(
  formatTable({
    title: 'B-01: stopping them and giving everything back',
    method: 'Others: delete -f, rm -f. Budget at 100: 1.50 × crun.',
    columns: ['instances', ...names.map((name) => name.split(' ')[0]!), 'ours', 'best', 'to crun'],
    rows: stops,
  }),
);
console.log(
  formatTable({
    title: 'Where the time of a start goes',
    method:
      'How long at least one instance was in the step; steps of different instances overlap, and networks are made while containers are started. Limits of the cgroup are set by the runtime; permissions are one call of IAM, which its own table has.',
    columns: ['instances', ...STEPS],
    rows: steps,
  }),
);
console.log(
  formatTable({
    title: 'Where the time of a stop goes',
    method: 'How long at least one instance was in the step; steps of different instances overlap.',
    columns: ['instances', ...STOP_STEPS],
    rows: stopSteps,
  }),
);
console.log(
  formatTable({
    title: 'Memory of an instance',
    method: 'Of conmon, the mean; of the service manager, what its heap has grown by, by the number of instances.',
    columns: ['instances', 'conmon, private', 'conmon, with its share', 'ours'],
    rows: costs,
  }),
);
