/** One cloud of two processes, with its database in a real PostgreSQL: what one does the other knows, and when one dies the other goes on. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { PROJECT_ROOT } from '../../devenv/project.ts';
import { buildProgram } from '../../scripts/build.ts';
import { CloudAccess } from '../../src/cloud/cloud-access-for-tests.ts';
import { ScriptedUnit } from '../../src/cloud/scripted-unit-for-tests.ts';
import { PostgresForTests } from '../../src/cloud/store/postgresql/postgres-for-tests.ts';

const STORY_MS = 240_000;
/** Nothing waits for so long unless it is broken. */
const eventually = <T>(ask: () => T) => expect.poll(ask, { timeout: 60_000, interval: 200 });

interface Process {
  readonly child: ChildProcess;
  readonly access: CloudAccess;
}

let directory: string;
let bundles: string;
let server: PostgresForTests;
let database: string;
let program: string;
let first: Process;
let second: Process;
const children: ChildProcess[] = [];
const units: ScriptedUnit[] = [];

/** Both share the keys, which lie where `CloudAccess` looks for them. */
const home = () => join(directory, 'shared');

async function start(name: string): Promise<Process> {
  const workingDir = join(directory, name);
  await mkdir(workingDir, { recursive: true });
  const config = join(directory, `${name}.cfg`);
  const options = {
    ...{ workingDir, listenHost: '127.0.0.1', ports: { discovery: 0, webSocket: 0, rest: 0, blobs: 0 } },
    ...{ database: server.url(database), pkiDirectory: join(home(), 'work', 'pki') },
    ...{ ackTimeout: '2s', messageLogLimit: 100_000 },
  };
  await writeFile(config, JSON.stringify(options));
  const child = spawn(process.execPath, [program, '-c', config, '-v', 'error'], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  children.push(child);
  const isReady = await Promise.race([once(child, 'message').then(() => true), once(child, 'exit').then(() => false)]);
  expect(isReady).toBe(true);
  const endpoints = JSON.parse(await readFile(join(workingDir, 'endpoints.json'), 'utf8'));
  return { child, access: new CloudAccess(home(), endpoints) };
}

async function kill(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill(signal);
  await gone;
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cloud-two-'));
  const cache = join(PROJECT_ROOT, 'node_modules', '.cache');
  await mkdir(cache, { recursive: true });
  bundles = await mkdtemp(join(cache, 'cloud-'));
  program = await buildProgram(PROJECT_ROOT, 'aos-cloud', bundles);
  server = await PostgresForTests.start();
  database = new URL(await server.createDatabase()).pathname.slice(1);
  // Nothing is there: they make tables and keys, whichever comes first.
  [first, second] = await Promise.all([start('first'), start('second')]);
}, STORY_MS);

afterEach(() => {
  for (const unit of units.splice(0)) unit.disconnect();
});

afterAll(async () => {
  for (const { access } of [first, second].filter(Boolean)) access.disconnect();
  await Promise.all(children.map((child) => kill(child, 'SIGTERM')));
  await server?.close();
  for (const path of [directory, bundles].filter(Boolean)) await rm(path, { recursive: true, force: true });
}, STORY_MS);

/** The unit, at a process of the cloud. */
function at({ access }: Process, unit: ScriptedUnit): ScriptedUnit {
  const same = ScriptedUnit.known(access, unit.systemId, unit.identity);
  units.push(same);
  return same;
}

async function newUnit(process: Process): Promise<ScriptedUnit> {
  const unit = await ScriptedUnit.register(process.access);
  units.push(unit);
  return unit;
}

const isOnline = async ({ access }: Process, { path }: ScriptedUnit) =>
  (await access.must<{ online: boolean }>('GET', path)).online;

test(
  'a backup of such a cloud is refused, with what to do instead',
  async () => {
    const target = join(directory, 'backup.tar');
    const options = ['backup', target, '-c', join(directory, 'first.cfg')];
    const refused = promisify(execFile)(process.execPath, [program, ...options]);
    await expect(refused).rejects.toMatchObject({ code: 1, stderr: expect.stringMatching(/PostgreSQL.*"pg_dump"/) });
    expect(existsSync(target)).toBe(false);
  },
  STORY_MS,
);

/** A unit that sends one message after the other, at another process when its own is gone, and knows which were acknowledged. */
class BusyUnit {
  readonly acknowledged: string[] = [];
  unit: ScriptedUnit;
  readonly #process: Process;
  #isOver = false;

  constructor(unit: ScriptedUnit, process: Process) {
    this.unit = unit;
    this.#process = process;
  }

  async run(): Promise<void> {
    let process = this.#process;
    let unanswered: string | undefined;
    while (!this.#isOver) {
      this.unit = at(process, this.unit);
      try {
        await this.unit.comeOnline();
        const gone = this.unit.closed().then(() => {
          throw new Error('the link is gone');
        });
        gone.catch(() => undefined);
        while (!this.#isOver) {
          // What was not acknowledged is said again, as it was.
          const txn = this.unit.send({ messageType: 'unitStatus', isDeltaInfo: true }, unanswered);
          unanswered = txn;
          await Promise.race([this.unit.acked(txn), gone]);
          this.acknowledged.push(txn);
          unanswered = undefined;
        }
      } catch {
        process = second;
      }
    }
  }

  stop(): void {
    this.#isOver = true;
  }
}

test(
  'when one process is killed under load, every acknowledged message is in the database, once, and every unit is connected again',
  async () => {
    const busy: BusyUnit[] = [];
    for (let index = 0; index < 12; index += 1) {
      const process = index % 2 === 0 ? first : second;
      busy.push(new BusyUnit(await newUnit(process), process));
    }
    const runs = busy.map((one) => one.run());
    const counts = () => busy.map(({ acknowledged }) => acknowledged.length);
    await eventually(() => Math.min(...counts())).toBeGreaterThan(10);
    await kill(first.child, 'SIGKILL');
    const atDeath = counts();
    await eventually(() => counts().filter((count, index) => count < atDeath[index]! + 10)).toEqual([]);
    for (const one of busy) one.stop();
    await Promise.all(runs);

    const rows = await server.ask(
      database,
      `SELECT txn, COUNT(*) AS count FROM messages WHERE direction = 'received' AND outcome = 'received' GROUP BY txn`,
    );
    const stored = new Map(rows.map(({ txn, count }) => [txn, Number(count)]));
    const acknowledged = busy.flatMap((one) => one.acknowledged);
    expect(acknowledged.filter((txn) => stored.get(txn) !== 1)).toEqual([]);
    for (const { unit } of busy) expect(await isOnline(second, unit)).toBe(true);

    // What is wanted now reaches all of them.
    for (const { unit } of busy) await second.access.must('PUT', `${unit.path}/env-vars`, { items: [] });
    for (const { unit } of busy) await unit.next('overrideEnvVars');
  },
  STORY_MS,
);

test(
  'a process that comes back serves the same cloud, and takes the links that the other gives up when it stops',
  async () => {
    first = await start('first');
    const unit = await newUnit(second);
    await unit.comeOnline();
    await eventually(() => isOnline(first, unit)).toBe(true);
    const gone = unit.closed();
    await kill(second.child, 'SIGTERM');
    expect(await gone).toBe(1001);
    await eventually(() => isOnline(first, unit)).toBe(false);
    const again = at(first, unit);
    await again.comeOnline();
    await again.acked(again.sendStatus({}));
  },
  STORY_MS,
);
