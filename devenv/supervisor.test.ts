import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type UnitLayout, unitLayout } from './layout.ts';
import { Supervisor, type UnitDaemon } from './supervisor.ts';
import { UNIT_PORTS } from './unit-config.ts';
import { writeUnitFiles } from './unit-files.ts';

/** Stands for every daemon: tells its arguments, is ready, and does nothing. */
const SCRIPT =
  'console.log(process.argv.slice(2).join(" ")); process.send({ ready: true }); setInterval(() => undefined, 1e6);';

const PATIENCE_MS = 10_000;

let layout: UnitLayout;
let supervisor: Supervisor;

beforeEach(async () => {
  layout = unitLayout(await mkdtemp(join(tmpdir(), 'aos-supervisor-')));
  const caFile = join(layout.root, 'root.pem');
  const script = join(layout.root, 'daemon.mjs');
  await writeFile(caFile, 'a root');
  await writeFile(script, SCRIPT);
  const identity = { systemId: 'unit-1', nodeId: 'main', unitModel: 'dev;1.0.0', subjects: [] };
  await writeUnitFiles({ layout, ports: UNIT_PORTS, identity, caFile });
  supervisor = new Supervisor({ layout, restartPauseMs: 10, verbose: 'info', scriptOf: () => script });
});

afterEach(async () => {
  await supervisor.stop();
  await rm(layout.root, { recursive: true });
});

const ready = (name: UnitDaemon, since?: number) =>
  supervisor.waitFor((event) => event.kind === 'ready' && event.program === name, PATIENCE_MS, since);

const argumentsOf = async (name: UnitDaemon) =>
  (await readFile(join(layout.logs, `${name}.log`), 'utf8')).trim().split('\n').at(-1);

/** What IAM does at FinishProvisioning: the hook first, then the state file. */
async function finishProvisioning(): Promise<void> {
  execFileSync(join(layout.etc, 'hooks', 'finish-provisioning'));
  await writeFile(layout.stateFile, 'provisioned');
}

test('a blank unit runs IAM alone, in provisioning mode', async () => {
  await supervisor.start();
  expect(await argumentsOf('aos-iam')).toBe(`-c ${join(layout.etc, 'iam.cfg')} -provisioning -v info`);
  expect(supervisor.daemon('aos-cm').isWanted).toBe(false);
  expect(supervisor.daemon('aos-sm').isWanted).toBe(false);
});

test('the finish hook brings the unit into normal mode, with all daemons', async () => {
  await supervisor.start();
  const since = supervisor.history.length;
  await finishProvisioning();
  await Promise.all([ready('aos-cm', since), ready('aos-sm', since)]);
  expect(await argumentsOf('aos-iam')).toBe(`-c ${join(layout.etc, 'iam.cfg')} -v info`);
});

test('a provisioned unit starts with all daemons at once', async () => {
  await writeFile(layout.stateFile, 'provisioned');
  await supervisor.start();
  for (const name of ['aos-iam', 'aos-cm', 'aos-sm'] as const) expect(supervisor.daemon(name).isReady).toBe(true);
});

test('[O-10] the deprovision hook makes the unit blank: state, keys and data of IAM are gone, IAM runs alone', async () => {
  await writeFile(layout.stateFile, 'provisioned');
  await supervisor.start();
  await writeFile(layout.pinFile, '1234');
  await writeFile(join(layout.tokens, 'token'), 'keys');
  const since = supervisor.history.length;
  execFileSync(join(layout.etc, 'hooks', 'deprovision'), ['async']);
  await ready('aos-iam', since);
  expect(existsSync(layout.stateFile)).toBe(false);
  expect(existsSync(layout.pinFile)).toBe(false);
  expect(existsSync(join(layout.tokens, 'token'))).toBe(false);
  expect(supervisor.daemon('aos-cm').isWanted).toBe(false);
});

test('a daemon that is killed comes back by itself', async () => {
  await writeFile(layout.stateFile, 'provisioned');
  await supervisor.start();
  const pid = supervisor.daemon('aos-sm').pid;
  const since = supervisor.history.length;
  await supervisor.daemon('aos-sm').kill('SIGKILL');
  await ready('aos-sm', since);
  expect(supervisor.daemon('aos-sm').pid).not.toBe(pid);
});

test('waiting for an event that does not come ends, and tells the last events', async () => {
  await supervisor.start();
  await expect(supervisor.waitFor(() => false, 10)).rejects.toThrow(/did not come within 10 ms.*"kind":"ready"/);
});
