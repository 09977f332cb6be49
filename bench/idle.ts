/**
 * What a unit costs when nothing happens: processor time and bytes written of each daemon over a minute, with running
 * instances. Needs root and what `./dev up` installs; `npm run build` first. `AOS_BENCH_INSTANCES` (20) instances run.
 */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { busyboxLayer, writeImage } from '../test/e2e/image.ts';
import { World } from '../test/e2e/world.ts';
import { formatTable } from './table.ts';

const DAEMONS = ['aos-iam', 'aos-cm', 'aos-sm'] as const;
const WINDOW_S = 60;
/** What the deployment has begun is over by then. */
const SETTLE_S = 45;
const INSTANCES = Number(process.env.AOS_BENCH_INSTANCES ?? 20);
const JIFFIES_PER_SECOND = 100;

interface Cost {
  readonly cpuS: number;
  readonly writtenBytes: number;
  /** Times that the process was taken off the processor because it waited: how often it woke up. */
  readonly wakeUps: number;
}

function costOf(pid: number): Cost {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return {
    cpuS: (Number(fields[11]) + Number(fields[12])) / JIFFIES_PER_SECOND,
    writtenBytes: Number(/^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]),
    wakeUps: Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(status)?.[1]),
  };
}

// As on a device: no debug output, and no file with each message.
const world = await World.create({ unit: { verbose: 'info', config: { cm: { cloudMessageLog: undefined } } } });
const scratch = await mkdtemp(join(tmpdir(), 'aos-bench-'));
try {
  await world.provision();
  const image = await writeImage(join(scratch, 'idle'), { cmd: ['/bin/sleep', '100000'], layers: [busyboxLayer()] });
  await world.must('publish', image, '--id', 'idle', '--version', '1.0.0');
  await world.deploy('idle', '1.0.0', '--instances', String(INSTANCES));
  await sleep(SETTLE_S * 1000);
  const look = () => DAEMONS.map((name) => costOf(world.unit.supervisor.daemon(name).pid!));
  const before = look();
  await sleep(WINDOW_S * 1000);
  const costs = look().map((after, index) => ({
    cpuPercent: (100 * (after.cpuS - before[index]!.cpuS)) / WINDOW_S,
    writtenBytes: after.writtenBytes - before[index]!.writtenBytes,
    wakeUps: (after.wakeUps - before[index]!.wakeUps) / WINDOW_S,
  }));
  const sum = (of: (cost: (typeof costs)[number]) => number) => costs.reduce((total, cost) => total + of(cost), 0);
  const row = (name: string, cpu: number, written: number, wakeUps: number) => [
    ...[name, `${cpu.toFixed(2)} %`, written, written * (3600 / WINDOW_S), wakeUps.toFixed(1)],
  ];
  console.log(
    formatTable({
      title: `An idle unit with ${INSTANCES} instances`,
      method: `Over ${WINDOW_S} s, from /proc/<pid>/stat, io and status; measuring each 35 s, telling the cloud each minute.`,
      columns: ['daemon', 'of one core', 'bytes written', 'per hour', 'wake-ups a second'],
      rows: [
        ...DAEMONS.map((name, index) => {
          const { cpuPercent, writtenBytes, wakeUps } = costs[index]!;
          return row(name, cpuPercent, writtenBytes, wakeUps);
        }),
        row(
          'sum (budget: 0.5 %, 0 bytes)',
          sum(({ cpuPercent }) => cpuPercent),
          sum(({ writtenBytes }) => writtenBytes),
          sum(({ wakeUps }) => wakeUps),
        ),
      ],
    }),
  );
} finally {
  await world.close();
  await rm(scratch, { recursive: true, force: true });
}
