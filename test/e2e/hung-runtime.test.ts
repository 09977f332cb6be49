/** A container runtime that hangs, under a whole unit: what it is to make or remove is given up in words, and nothing stays. */
import { randomBytes } from 'node:crypto';
import { chmodSync, readdirSync, readFileSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { countBelongings } from '../../scripts/soak/belongings.ts';
import { instanceId } from '../../src/core/index.ts';
import { askControl, type InstanceReport } from '../../src/daemon/index.ts';
import { until } from '../component/until.ts';
import { World } from './world.ts';

const STORY_MS = 300_000;
/** Longer than any bound of the service manager. */
const PATIENCE_MS = 120_000;
/** Of an error on the wire. */
const MAX_REASON_BYTES = 63;
const PATIENCE = { timeout: PATIENCE_MS };
/** Instances of several runs on one host must not have the same ids. */
const tag = randomBytes(3).toString('hex');
const STEADY = `steady-${tag}`;
const STUCK = `stuck-${tag}`;
const STICKY = `sticky-${tag}`;
const COUNTED = ['processes', 'namespaces', 'namedNamespaces', 'mounts', 'cgroups', 'links', 'rules'] as const;

type Counts = Record<(typeof COUNTED)[number], number>;

interface InstanceOfNode extends InstanceReport {
  readonly because: string;
}

let world: World;
let steadyPid: number;
/**
 * With the steady service alone, after all has been begun that stays: also the shell that takes the place of one whose
 * program hung, and the one that has containers removed by their runtime. In the mount namespace of the first one the conmon of the steady service goes on.
 */
let before: Counts;

const idOf = (itemId: string) => instanceId({ itemId, subjectId: 'default', instance: 0 });
const crun = () => join(world.unit.layout.root, 'crun');
const sm = () => world.unit.supervisor.daemon('aos-sm');

beforeAll(async () => {
  world = await World.create({ hasOwnNetwork: true, unit: { config: { sm: { stopInstances: 'always' } } } });
  await useRuntimeThatHangs();
  await world.provision();
  for (const itemId of [STEADY, STUCK, STICKY]) await world.publishBusybox(itemId, '1.0.0');
  await world.deploy(STEADY, '1.0.0');
  steadyPid = await world.pidOf(STEADY);
  await letHang('create', STUCK);
  expect(await startInVain()).toContain(tooLong().slice(0, MAX_REASON_BYTES));
  await letWork('create', STUCK);
  await undeploy(STUCK);
  await world.deploy(STICKY, '1.0.0');
  loseHelper(STICKY);
  await undeploy(STICKY);
  const isGone = async () => !(await ofNode(STICKY)) && processesThatName(idOf(STICKY)).length === 0;
  await until('nothing is left of what ran', isGone, (gone) => gone);
  before = count();
}, STORY_MS);

afterEach(async () => {
  // A failed instance that is still wanted is started anew by whatever is asked for next.
  for (const itemId of [STUCK, STICKY]) await world.ctl('undeploy', itemId, '--unit', world.systemId);
  for (const name of readdirSync(world.unit.layout.root).filter((entry) => entry.startsWith('hang-'))) {
    await rm(join(world.unit.layout.root, name));
  }
});

afterAll(() => world?.close(), STORY_MS);

/** It does what crun does, but for what a file asks to hang. */
async function useRuntimeThatHangs(): Promise<void> {
  const { layout } = world.unit;
  const script = `#!/bin/sh
for id; do :; done
for what in create delete; do
  case " $* " in *" $what "*) if [ -e "${layout.root}/hang-$what-$id" ]; then exec tail -f "$0"; fi ;; esac
done
exec crun "$@"
`;
  await writeFile(crun(), script);
  chmodSync(crun(), 0o755);
  // The service manager starts when the unit is provisioned.
  const file = join(layout.etc, 'sm.cfg');
  const config = JSON.parse(await readFile(file, 'utf8'));
  config.runtimes[0].config.crunExecutable = crun();
  await writeFile(file, JSON.stringify(config));
}

const letHang = (what: 'create' | 'delete', itemId: string) =>
  writeFile(join(world.unit.layout.root, `hang-${what}-${idOf(itemId)}`), '');
const letWork = (what: 'create' | 'delete', itemId: string) =>
  rm(join(world.unit.layout.root, `hang-${what}-${idOf(itemId)}`));

/** Without its helper nobody tells how it ended, so its runtime is asked to remove it. */
function loseHelper(itemId: string): void {
  const pid = readFileSync(join(world.unit.layout.bundles, idOf(itemId), 'conmon.pid'), 'utf8');
  process.kill(Number(pid), 'SIGKILL');
}

const tooLong = () => `${crun()}, run by conmon, did not end within 30000 ms`;

/** What aosctl says of the start of STUCK. */
async function startInVain(): Promise<string> {
  const words = ['deploy', STUCK, '--version', '1.0.0', '--unit', world.systemId, '--wait', String(PATIENCE_MS / 1000)];
  const { code, stderr } = await world.ctl(...words);
  expect(code).toBe(1);
  return stderr;
}

const undeploy = (itemId: string) =>
  world.must('undeploy', itemId, '--unit', world.systemId, '--wait', String(PATIENCE_MS / 1000));

async function deployAndUndeploy(itemId: string): Promise<void> {
  await world.deploy(itemId, '1.0.0');
  await undeploy(itemId);
}

function count(): Counts {
  const { layout, namespace } = world.unit;
  const ids = [STEADY, STUCK, STICKY].map(idOf);
  const all = countBelongings({ pid: sm().pid ?? -1, directory: layout.root, ids, namespace }, []);
  return Object.fromEntries(COUNTED.map((kind) => [kind, all[kind]])) as Counts;
}

/** What there is more of than before. */
function surplus(): Partial<Counts> {
  const now = count();
  return Object.fromEntries(COUNTED.filter((kind) => now[kind] > before[kind]).map((kind) => [kind, now[kind]]));
}

/** Command lines of processes that name it. */
function processesThatName(text: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ');
        return words.includes(text) ? [`${pid} ${words}`] : [];
      } catch {
        // It ended while we looked.
        return [];
      }
    });
}

const hanging = () => processesThatName(`tail -f ${crun()}`);

async function expectNothingOf(itemId: string): Promise<void> {
  await expect.poll(() => [...hanging(), ...processesThatName(idOf(itemId))], PATIENCE).toEqual([]);
  await expect.poll(surplus, PATIENCE).toEqual({});
}

async function ofNode(itemId: string): Promise<InstanceOfNode | undefined> {
  const report = await askControl<{ instances: InstanceOfNode[] }>(world.unit.layout.sockets.sm, '/status');
  return report.instances.find((instance) => instance.itemId === itemId);
}

/** It was never touched, and the instance that was can be started and stopped as any other. */
async function expectAllWell(itemId: string): Promise<void> {
  expect(await world.pidOf(STEADY)).toBe(steadyPid);
  await deployAndUndeploy(itemId);
  await expectNothingOf(itemId);
  expect(await world.pidOf(STEADY)).toBe(steadyPid);
}

test(
  '[SM-19] [SM-04] [R-07] a runtime that hangs at the start fails the instance in words, and gives everything back',
  async () => {
    await letHang('create', STUCK);
    expect(await startInVain()).toContain(tooLong().slice(0, MAX_REASON_BYTES));
    expect(await ofNode(STUCK)).toMatchObject({ state: 'failed', because: expect.stringContaining(tooLong()) });
    await expectNothingOf(STUCK);

    await letWork('create', STUCK);
    await undeploy(STUCK);
    await expectAllWell(STUCK);
  },
  STORY_MS,
);

test(
  '[SM-18] [R-07] a runtime that hangs at the stop is ended, and everything is given back without it',
  async () => {
    await world.deploy(STICKY, '1.0.0');
    await letHang('delete', STICKY);
    loseHelper(STICKY);
    await undeploy(STICKY);
    await expectNothingOf(STICKY);
    await expect.poll(() => ofNode(STICKY), PATIENCE).toBeUndefined();
    const log = await readFile(join(world.unit.layout.logs, 'aos-sm.log'), 'utf8');
    expect(log).toContain(`it could not be stopped by its runtime: ${crun()} did not end within`);

    await letWork('delete', STICKY);
    await expectAllWell(STICKY);
  },
  STORY_MS,
);

test(
  '[R-01] [SM-58] [R-07] a service manager that is killed while its runtime hangs has a successor that ends and removes everything',
  async () => {
    await world.deploy(STICKY, '1.0.0');
    await letHang('delete', STICKY);
    loseHelper(STICKY);
    await world.must('undeploy', STICKY, '--unit', world.systemId);
    const hung = await until('the removal hangs', hanging, (list) => list.length === 1);
    await sm().kill('SIGKILL');
    expect(hanging()).toEqual(hung);
    await world.unit.supervisor.untilReady('aos-sm', PATIENCE_MS);
    // The runtime hangs on: also the successor has to do without it.
    await expectNothingOf(STICKY);

    await letWork('delete', STICKY);
    await expectAllWell(STICKY);
  },
  STORY_MS,
);

test(
  '[SM-58] [R-07] a service manager that is asked to stop does so in order although its runtime hangs, and leaves nothing',
  async () => {
    await world.deploy(STICKY, '1.0.0');
    await letHang('delete', STICKY);
    loseHelper(STICKY);
    const since = world.unit.supervisor.history.length;
    await sm().stop();
    const ended = world.unit.supervisor.history.slice(since).find(({ program }) => program === 'aos-sm');
    expect(ended).toMatchObject({ kind: 'exited', how: 'status 0' });
    expect(hanging()).toEqual([]);
    for (const itemId of [STEADY, STICKY]) {
      await expect.poll(() => processesThatName(idOf(itemId)), PATIENCE).toEqual([]);
    }
    expect(count()).toMatchObject({ namedNamespaces: 0, mounts: 0, cgroups: 0 });

    await sm().start();
    for (const itemId of [STEADY, STICKY]) await world.pidOf(itemId);
    await letWork('delete', STICKY);
    await undeploy(STICKY);
    await expectNothingOf(STICKY);
  },
  STORY_MS,
);
