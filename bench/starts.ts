/**
 * B-01 in short: a round of starts and stops of ours beside those of crun, in wall time and in processor time, which says
 * more where others are at work on the same machine.
 * `node bench/starts.ts [count] [rounds]`, such as `50 2`; needs what `containers.ts` needs.
 */
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { Rivals } from './container-rivals.ts';
import { ContainerStage, enterOwnNamespaces, timed } from './container-stage.ts';
import { StepClock } from './step-clock.ts';
import { formatTable, median, ms, ratio } from './table.ts';

// The tree of the processor time is seen from a cgroup of the bench, so that containers are counted with it.
const TREE = '/sys/fs/cgroup/cpuacct';
const own = `${TREE}/aos-bench-${randomUUID()}`;
const USAGE = `${TREE}/cpuacct.usage`;
const counting = `mkdir ${own} && echo $$ >${own}/cgroup.procs && exec unshare --cgroup sh -c 'umount ${TREE} && mount -t cgroup -o cpuacct cgroup ${TREE} && exec "$0" "$@"' "$0" "$@";`;
enterOwnNamespaces(import.meta.filename, existsSync(USAGE) ? counting : '', () => {
  spawnSync('find', [own, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', ';']);
});

const count = Number(process.argv[2] ?? 50);
const rounds = Number(process.argv[3] ?? 2);

/** Milliseconds of all processors; not a number where this kernel does not count them so. */
const spentMs = () => (existsSync(USAGE) ? Number(readFileSync(USAGE, 'utf8')) / 1e6 : Number.NaN);

interface Cost {
  readonly wall: number[];
  readonly cpu: number[];
}

const costs = new Map<string, Cost>();
async function cost(what: string, work: () => unknown): Promise<void> {
  const entry = costs.get(what) ?? { wall: [], cpu: [] };
  costs.set(what, entry);
  const before = spentMs();
  entry.wall.push(await timed(work));
  entry.cpu.push(spentMs() - before);
}

const clock = new StepClock();
const stage = await ContainerStage.open(clock);
const rivals = await Rivals.create(stage.directory, stage.memory, count);
const crun = rivals.all.find(({ name }) => name.startsWith('crun'));
if (crun === undefined) throw new Error('crun is not installed');
const steps: string[][] = [];

try {
  for (let round = 0; round < rounds; round += 1) {
    const infos = Array.from({ length: count }, (_, index) => stage.info(index));
    await cost('crun start', () => rivals.start(crun, count));
    await cost('crun stop', () => rivals.remove(crun, count));
    for (const what of ['start', 'stop'] as const) {
      clock.take();
      await cost(`our ${what}`, () => stage[what](infos));
      for (const [step, took] of clock.take()) steps.push([String(round), what, step, ms(took)]);
    }
  }
} finally {
  try {
    rivals.remove(crun, count);
  } catch {
    // They were removed before, as they should have been.
  }
  await stage.close();
  rivals.close();
}

const of = (what: string): Cost => costs.get(what) ?? { wall: [], cpu: [] };
const row = (what: 'start' | 'stop', read: (cost: Cost) => readonly number[], name: string) => {
  const [theirs, ours] = [median(read(of(`crun ${what}`))), median(read(of(`our ${what}`)))];
  return [what, name, ms(theirs), ms(ours), ratio(ours, theirs)];
};
console.log(
  formatTable({
    title: `${count} instances beside crun`,
    method: `Median of ${rounds} rounds in turns; crun one after the other.`,
    columns: ['what', 'time', 'crun', 'ours', 'to crun'],
    rows: (['start', 'stop'] as const).flatMap((what) => [
      row(what, ({ wall }) => wall, 'wall'),
      row(what, ({ cpu }) => cpu, 'processors'),
    ]),
  }),
);
console.log(
  formatTable({
    title: 'Steps',
    method: 'How long at least one instance was in the step.',
    columns: ['round', 'what', 'step', 'wall'],
    rows: steps,
  }),
);
