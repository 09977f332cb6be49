/**
 * A whole unit, from outside: time from a changed deployment to active for 1 and 20 instances, beside the bare runtime
 * with the same bundles in the same run; memory of the idle daemons; time until each of them is ready, and until what is
 * stored runs again.
 * Needs root and what `./dev up` installs; `npm run build` first.
 */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ProxyHost } from '../devenv/proxy-host.ts';
import { Cgroups } from '../src/platform/cgroup/index.ts';
import { busyboxLayer, noise, writeImage } from '../test/e2e/image.ts';
import { type RunningInstance, World } from '../test/e2e/world.ts';
import { type Memory, memoryOf } from './memory.ts';
import { formatTable, mb, median, ms, ratio } from './table.ts';

const ROUNDS = 5;
const LOOK_AGAIN_MS = 10;
/** A daemon gives memory back when nothing has happened for 5 s. */
const TIDY_MS = 7_000;
const STORED = 20;
const DAEMONS = ['aos-iam', 'aos-cm', 'aos-sm'] as const;

interface OciConfig {
  root: { path: string };
  process: { terminal?: boolean };
  linux: { cgroupsPath?: string; namespaces: { type: string; path?: string }[] };
}

const world = await World.create();
// As on a device, where /run is in memory; who tidies up after the unit takes them away.
for (const place of [world.unit.layout.bundles, world.unit.layout.ociState]) {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', place]);
}
const scratch = await mkdtemp(join(tmpdir(), 'aos-bench-'));
const cgroupName = `/aos-bench-${randomUUID()}`;

async function timed(work: () => Promise<unknown> | unknown): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

/** Each round another item with blobs of its own, so that everything is cold. */
async function publish(itemId: string, seed: number): Promise<void> {
  const image = await writeImage(join(scratch, itemId), {
    cmd: ['/bin/sleep', '100000'],
    layers: [busyboxLayer(), [{ name: 'noise', content: noise(100_000, seed) }]],
  });
  await world.must('publish', image, '--id', itemId, '--version', '1.0.0');
}

const activeOf = async (itemId: string) =>
  (await world.running(itemId)).filter((instance) => instance.state === 'active');

/** From the deployment's change at the cloud until every instance is reported active there. */
async function deployTime(itemId: string, count: number): Promise<number> {
  const abort = new AbortController();
  const events = world.rest.events(`/api/units/${world.systemId}/events`, abort.signal);
  const isActive = async () => {
    const instances = await world.cloudInstances(itemId);
    return instances.filter((instance) => instance.state === 'active').length === count;
  };
  const done = (async () => {
    for await (const _ of events) if (await isActive()) return;
  })();
  const took = await timed(async () => {
    await world.rest.send('PUT', `/api/units/${world.systemId}/deployments/${itemId}`, {
      version: '1.0.0',
      numInstances: count,
    });
    await done;
  });
  abort.abort();
  return took;
}

/** Of the last request of the CM to the SM: until everything of it runs, in milliseconds, as the SM says it. */
async function ofTheSm(): Promise<number> {
  const { logFile } = world.unit.supervisor.daemon('aos-sm').spec;
  const ends = (await readFile(logFile, 'utf8')).matchAll(/"tookMs":(\d+).*"msg":"update instances: end"/g);
  return Number([...ends].at(-1)?.[1]);
}

/** The same bundles, started by the bare runtime one after the other. */
async function bareTime(instances: readonly RunningInstance[]): Promise<number> {
  const state = join(scratch, 'bare-state');
  const bundles = join(scratch, `bare-${randomUUID()}`);
  for (const [index, instance] of instances.entries()) {
    const config = JSON.parse(await readFile(join(instance.bundleDir, 'config.json'), 'utf8')) as OciConfig;
    if (!config.root.path.startsWith('/')) config.root.path = join(instance.bundleDir, config.root.path);
    config.linux.cgroupsPath = `${cgroupName}/${index}`;
    config.linux.namespaces = config.linux.namespaces.map(({ type }) => ({ type }));
    config.process.terminal = false;
    await mkdir(join(bundles, String(index)), { recursive: true });
    await writeFile(join(bundles, String(index), 'config.json'), JSON.stringify(config));
  }
  const { layout } = new Cgroups();
  const hide = layout.version === 1 && layout.unified ? `umount -l ${layout.unified};` : '';
  const last = instances.length - 1;
  const shell = (script: string) =>
    execFileSync('unshare', ['--mount', '--propagation', 'slave', 'sh', '-c', `${hide} ${script}`], {
      stdio: 'ignore',
    });
  try {
    return await timed(() =>
      shell(`for i in $(seq 0 ${last}); do crun --root ${state} run -d -b ${bundles}/$i bench-$i || exit 1; done`),
    );
  } finally {
    shell(`for i in $(seq 0 ${last}); do crun --root ${state} delete -f bench-$i; done`);
  }
}

function sumRow(what: string, memory: readonly Memory[]): string[] {
  const sum = (of: (one: Memory) => number) => mb(memory.reduce((total, one) => total + of(one), 0));
  return [what, sum(({ pssBytes }) => pssBytes), sum(({ privateBytes }) => privateBytes)];
}

async function undeploy(itemId: string): Promise<void> {
  await world.must('undeploy', itemId, '--unit', world.systemId, '--wait', '60');
}

/** From the start of the first daemon until all instances run again, with everything stopped before. */
async function backTime(itemId: string): Promise<number> {
  const first = world.unit.supervisor.waitFor(
    ({ kind, program }) => kind === 'started' && program === DAEMONS[0],
    60_000,
  );
  const restarted = world.unit.supervisor.restart();
  await first;
  const took = await timed(async () => {
    const deadline = performance.now() + 60_000;
    // Until it listens, the SM refuses.
    while ((await activeOf(itemId).catch(() => [])).length !== STORED) {
      if (performance.now() > deadline)
        throw new Error(`not all of ${STORED} instances of ${itemId} run again after 60 s`);
      await sleep(LOOK_AGAIN_MS);
    }
  });
  await restarted;
  return took;
}

try {
  await world.provision();
  const rows: (string | number)[][] = [];
  let seed = 0;
  for (const count of [1, 20]) {
    const ours: number[] = [];
    const bySm: number[] = [];
    const bare: number[] = [];
    const again: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      seed += 1;
      const itemId = `bench-${seed}`;
      await publish(itemId, seed);
      ours.push(await deployTime(itemId, count));
      bySm.push(await ofTheSm());
      bare.push(await bareTime(await activeOf(itemId)));
      await undeploy(itemId);
      again.push(await deployTime(itemId, count));
      await undeploy(itemId);
    }
    const row = (what: string, values: readonly number[]) => [
      ...[what, count, ms(median(values)), ms(Math.min(...values))],
      ratio(median(values), median(bare)),
    ];
    rows.push(row('new item: desired status, download, decrypt, verify, unpack, start', ours));
    rows.push(row('of that, of the SM: from the request of the CM on', bySm));
    rows.push(row('known item: desired status, start', again));
    rows.push(row('crun run -d of the same bundles', bare));
  }
  console.log(
    formatTable({
      title: 'From deployment to active',
      method: `Seen at the cloud, over its REST interface. Median and best of ${ROUNDS} rounds.`,
      columns: ['what', 'instances', 'median', 'best', 'to bare'],
      rows,
    }),
  );

  const proxy = await ProxyHost.start(world.unit);
  await sleep(TIDY_MS);
  const memory = DAEMONS.map((name) => memoryOf(world.unit.supervisor.daemon(name).pid!));
  const ofProxy = memoryOf(proxy.daemon.pid!);
  await proxy.stop();
  console.log(
    formatTable({
      title: 'Memory of idle daemons',
      method: 'Some seconds after the deployments above; from smaps_rollup.',
      columns: ['daemon', 'PSS', 'private'],
      rows: [
        ...DAEMONS.map((name, index) => [name, mb(memory[index]!.pssBytes), mb(memory[index]!.privateBytes)]),
        sumRow('sum (budget: 120 MB)', memory),
        ['aos-mp, which waits for its peer', mb(ofProxy.pssBytes), mb(ofProxy.privateBytes)],
        sumRow('sum with aos-mp (budget: 150 MB)', [...memory, ofProxy]),
      ],
    }),
  );

  const ready = new Map<string, number[]>(DAEMONS.map((name) => [name, []]));
  for (let round = 0; round < ROUNDS; round += 1) {
    const since = world.unit.supervisor.history.length;
    await world.unit.supervisor.restart();
    for (const event of world.unit.supervisor.history.slice(since)) {
      if (event.kind === 'ready') ready.get(event.program)?.push(event.sinceStartMs);
    }
  }
  console.log(
    formatTable({
      title: 'Time until a daemon is ready',
      method: `From its start until it says so, in the order of the target. Median and best of ${ROUNDS} restarts.`,
      columns: ['daemon', 'median', 'best', 'budget'],
      rows: DAEMONS.map((name) => {
        const values = ready.get(name)!;
        return [name, ms(median(values)), ms(Math.min(...values)), '180 ms'];
      }),
    }),
  );

  await publish('stored', seed + 1);
  await deployTime('stored', STORED);
  const back: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) back.push(await backTime('stored'));
  console.log(
    formatTable({
      title: 'Until what is stored runs again',
      method: `From the start of the first daemon until ${STORED} instances run, looked at every ${LOOK_AGAIN_MS} ms. Median and best of ${ROUNDS} restarts, each of which stops everything first.`,
      columns: ['instances', 'median', 'best', 'budget'],
      rows: [[STORED, ms(median(back)), ms(Math.min(...back)), '1 s']],
    }),
  );
} finally {
  await world.close();
  new Cgroups().remove(cgroupName);
  await rm(scratch, { recursive: true, force: true });
}
