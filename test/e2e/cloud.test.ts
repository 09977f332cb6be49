/** The life of an aos-cloud as its operator knows it: the program, its commands, a crash, a backup, another machine. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CloudAccess } from '../../src/cloud/cloud-access-for-tests.ts';
import { ScriptedUnit } from '../../src/cloud/scripted-unit-for-tests.ts';
import { runProgram, writeProfile } from '../component/run-program.ts';
import { item, node, running } from './fleet-for-web.ts';

const DIST = join(import.meta.dirname, '..', '..', 'dist');
const STORY_MS = 120_000;

interface Program {
  readonly directory: string;
  readonly child: ChildProcess;
  readonly access: CloudAccess;
}

let directory: string;
let cloud: Program;
const started: ChildProcess[] = [];
const units: ScriptedUnit[] = [];

const configOf = (home: string) => join(home, 'cloud.cfg');

async function prepare(home: string): Promise<void> {
  await mkdir(home, { recursive: true });
  const ports = { discovery: 0, webSocket: 0, rest: 0, blobs: 0 };
  const config = { workingDir: join(home, 'work'), listenHost: '127.0.0.1', ports };
  await writeFile(configOf(home), JSON.stringify(config));
}

async function start(home: string): Promise<Program> {
  const child = spawn(process.execPath, [join(DIST, 'aos-cloud.mjs'), '-c', configOf(home), '-v', 'error'], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  started.push(child);
  const isReady = await Promise.race([once(child, 'message').then(() => true), once(child, 'exit').then(() => false)]);
  expect(isReady).toBe(true);
  const endpoints = JSON.parse(await readFile(join(home, 'work', 'endpoints.json'), 'utf8'));
  const access = new CloudAccess(home, endpoints);
  await writeProfile(home, endpoints.restUrl);
  return { directory: home, child, access };
}

async function end({ child, access }: Program, signal: NodeJS.Signals): Promise<void> {
  access.disconnect();
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill(signal);
  await gone;
}

const run = (program: string, ...args: string[]) => runProgram(join(DIST, program), args);

async function ctl(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run('aosctl.mjs', '--profile', join(cloud.directory, 'profile.json'), ...args);
  expect([code, code === 0 ? '' : stderr]).toEqual([0, '']);
  return stdout;
}

const nodes = [node('main', true)];
const runs = (version: string) => ({
  ...{ nodes, items: [item('telemetry', version)], instances: [running('telemetry', version, 'main')] },
});
const again = (unit: ScriptedUnit) => ScriptedUnit.known(cloud.access, unit.systemId, unit.identity);

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cloud-story-'));
  await prepare(join(directory, 'first'));
  cloud = await start(join(directory, 'first'));
  for (const name of ['car-1', 'car-2']) units.push(await ScriptedUnit.register(cloud.access, name));
  for (const version of ['1.0.0', '1.1.0']) await cloud.access.publish('telemetry', version, version);
}, STORY_MS);

afterAll(async () => {
  for (const unit of units) unit.disconnect();
  cloud?.access.disconnect();
  for (const child of started) child.kill('SIGKILL');
  await rm(directory, { recursive: true, force: true });
});

describe('a cloud that a small fleet lives on', { timeout: STORY_MS }, () => {
  test('[W5] a subject brings an item to its units, and a campaign a new version to one set after the other', async () => {
    await ctl('subject', 'drivers');
    await ctl('subscribe', 'drivers', 'telemetry', '--version', '1.0.0');
    for (const { systemId } of units) await ctl('--unit', systemId, 'assign', 'drivers');
    const { access } = cloud;
    for (const [index, { systemId }] of units.entries()) {
      await access.must('PUT', `/api/unit-sets/stage-${index}`, { units: [systemId] });
    }
    const subject = { subject: { id: 'drivers' } };
    const report = (version: string) => ({
      ...runs(version),
      instances: [{ ...running('telemetry', version, 'main'), ...subject }],
    });
    for (const unit of units) await unit.comeOnline(report('1.0.0'));
    const [first, second] = units as [ScriptedUnit, ScriptedUnit];
    const version = async (unit: ScriptedUnit) => (await unit.next('desiredStatus')).data.items?.[0]?.version;
    const { id } = await access.must<{ id: string }>('POST', '/api/campaigns', {
      ...{ itemId: 'telemetry', version: '1.1.0', stages: ['stage-0', 'stage-1'] },
    });
    expect(await version(first)).toBe('1.1.0');
    expect(second.inbox.filter(({ data }) => data.messageType === 'desiredStatus')).toEqual([]);
    await first.acked(first.sendStatus({ isDeltaInfo: false, subjects: [], ...report('1.1.0') }));
    expect(await version(second)).toBe('1.1.0');
    await second.acked(second.sendStatus({ isDeltaInfo: false, subjects: [], ...report('1.1.0') }));
    await expect
      .poll(() => access.must('GET', `/api/campaigns/${id}`), { timeout: 30_000 })
      .toMatchObject({
        state: 'completed',
      });
  });

  test('killed without warning, it goes on with what it knew, and units come back', async () => {
    for (const unit of units) unit.disconnect();
    await end(cloud, 'SIGKILL');
    cloud = await start(cloud.directory);
    const unit = again(units[0]!);
    units.push(unit);
    await unit.comeOnline(runs('1.1.0'));
    await cloud.access.must('POST', `${unit.path}/resend`);
    expect((await unit.next('desiredStatus')).data.items).toMatchObject([{ version: '1.1.0' }]);
    expect(await ctl('units')).toMatch(/car-1 +yes/);
  });

  test('backed up while it runs and restored elsewhere by one command each, it is the same cloud to its units', async () => {
    const archive = join(directory, 'backup.tar');
    const backup = await run('aos-cloud.mjs', 'backup', archive, '-c', configOf(cloud.directory));
    expect(backup).toMatchObject({ code: 0, stdout: expect.stringMatching(/^backup of .* files, \d+ bytes\n$/) });
    for (const unit of units) unit.disconnect();
    await end(cloud, 'SIGTERM');

    const home = join(directory, 'second');
    await prepare(home);
    expect((await run('aos-cloud.mjs', 'restore', archive, '-c', configOf(home))).code).toBe(0);
    cloud = await start(home);
    const unit = again(units[1]!);
    units.push(unit);
    await unit.comeOnline(runs('1.1.0'));
    expect(await ctl('units')).toMatch(/car-2 +yes/);
    expect(await ctl('campaigns')).toMatch(/telemetry/);
    const twice = await run('aos-cloud.mjs', 'restore', archive, '-c', configOf(home));
    expect([twice.code, twice.stderr]).toEqual([1, expect.stringMatching(/is not empty/)]);
  });
});
