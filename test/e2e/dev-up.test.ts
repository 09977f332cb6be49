/** The one command of the README, as a newcomer runs it: up, look, Ctrl-C; up again; a crash and the clean-up after it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { mountsInside, namespaceOf, processesOf } from '../../devenv/index.ts';
import { PROJECT_ROOT } from '../../devenv/project.ts';
import type { UnitReport } from '../../src/daemon/index.ts';
import { runProgram } from '../component/run-program.ts';

const STORY_MS = 240_000;
/** Generous: machines that test are busy. */
const PATIENCE_MS = 60_000;

let directory: string;
let env: NodeJS.ProcessEnv;
const started: ChildProcess[] = [];

const script = (name: string) => join(PROJECT_ROOT, 'devenv', `${name}.ts`);

/** Runs one of the commands behind `./dev` to its end. */
const run = (name: string, ...args: string[]) => runProgram(script(name), args, env);

/** `./dev up` until it says that all runs. Its lines so far are in the answer. */
async function up(): Promise<{ process: ChildProcess; lines: string[] }> {
  const process_ = spawn(process.execPath, [script('up')], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  started.push(process_);
  const lines: string[] = [];
  const says = (accept: (line: string) => boolean) =>
    new Promise<void>((resolve, reject) => {
      for (const stream of [process_.stdout!, process_.stderr!]) {
        createInterface(stream).on('line', (line) => {
          lines.push(line);
          if (accept(line)) resolve();
        });
      }
      process_.once('exit', (code) => reject(new Error(`./dev up ended with ${code}:\n${lines.join('\n')}`)));
    });
  await says((line) => line.startsWith('It runs.'));
  return { process: process_, lines };
}

/** What of the environment is still on the host. */
function leftOvers(): string[] {
  const mounts = mountsInside(directory);
  const processes = processesOf(directory).map((pid) => `process ${pid}`);
  const namespace = namespaceOf(join(directory, 'unit'));
  return [...mounts, ...processes, ...(existsSync(`/run/netns/${namespace}`) ? [namespace] : [])];
}

const report = async () => JSON.parse((await run('ctl', 'status', '--json')).stdout) as UnitReport;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-up-'));
  env = { ...process.env, AOS_DEV_DIR: directory };
});

// What a failed test left running would be in the way of the next one.
afterEach(async () => {
  const running = started.filter((child) => child.exitCode === null && child.signalCode === null);
  for (const child of running) {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  if (running.length > 0) await run('down');
}, STORY_MS);

afterAll(async () => {
  await run('down', '--all');
  await rm(directory, { recursive: true, force: true });
}, STORY_MS);

test(
  '[P-01] one command brings up a cloud, a provisioned unit and a running service; Ctrl-C leaves nothing behind',
  async () => {
    const { process: running, lines } = await up();
    expect(lines.join('\n')).toMatch(/mosquitto 1\.0\.0 is active/);
    const { instances, cloud } = await report();
    expect(cloud.state).toBe('connected');
    expect(instances.map(({ itemId, state }) => `${itemId} ${state}`).toSorted()).toEqual([
      'mosquitto active',
      'mosquitto-client active',
    ]);
    // What somebody looks at first: nothing is broken, and a service has said something.
    const { code, stdout } = await run('ctl', 'doctor');
    expect(stdout).toMatch(/^0 broken/m);
    expect(code).toBe(0);
    const saidMore = async () => (await run('ctl', 'logs', 'mosquitto')).stdout;
    await expect.poll(saidMore, { timeout: PATIENCE_MS }).toMatch(/mosquitto version/);
    const second = await run('up');
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(/running already/);
    running.kill('SIGINT');
    await once(running, 'exit');
    expect(running.exitCode).toBe(0);
    expect(leftOvers()).toEqual([]);
  },
  STORY_MS,
);

test(
  'a second start goes on from the first, and a service keeps its state over it',
  async () => {
    const before = await readFile(join(directory, 'unit', 'etc', 'system_id'), 'utf8');
    // A program of the host was updated meanwhile: its sample is another version.
    await writeFile(join(directory, 'images', 'mosquitto-client', 'fingerprint'), 'of the program before');
    const { process: running, lines } = await up();
    expect(lines.join('\n')).not.toMatch(/provisioning the unit/);
    expect(lines.join('\n')).toMatch(/mosquitto-client 1\.0\.1 is active/);
    expect(await readFile(join(directory, 'unit', 'etc', 'system_id'), 'utf8')).toBe(before);
    const deployed = await run('ctl', 'deploy', 'counter', '--version', '1.0.0', '--wait', '60');
    expect(deployed.stderr + deployed.stdout).toMatch(/counter 1\.0\.0 is active/);
    // It is active before it has counted its start.
    const states = join(directory, 'unit', 'var', 'states', 'counter', 'default', '0', 'state.dat');
    const counted = async () => Number(await readFile(states, 'utf8'));
    await expect.poll(counted, { timeout: PATIENCE_MS }).toBeGreaterThan(0);
    const starts = await counted();
    running.kill('SIGINT');
    await once(running, 'exit');

    const again = await up();
    const found = async () => (await report()).instances.map(({ itemId, state }) => `${itemId} ${state}`).toSorted();
    const wanted = ['counter active', 'mosquitto active', 'mosquitto-client active'];
    await expect.poll(found, { timeout: PATIENCE_MS }).toEqual(wanted);
    await expect.poll(counted, { timeout: PATIENCE_MS }).toBe(starts + 1);

    // A crash: the supervisor is gone, the daemons and their containers are not. Then `./dev down`.
    again.process.kill('SIGKILL');
    await once(again.process, 'exit');
    expect(leftOvers()).not.toEqual([]);
    expect((await run('down')).stdout).toMatch(/nothing runs any more/);
    expect(leftOvers()).toEqual([]);
    expect((await run('down', '--all')).code).toBe(0);
    expect(readdirSync(tmpdir())).not.toContain(directory.slice(tmpdir().length + 1));
  },
  STORY_MS,
);
