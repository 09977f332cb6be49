import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type DaemonEvent, DaemonProcess, startTimeOf } from './daemon-process.ts';

let directory: string;
let events: EventEmitter<{ event: [DaemonEvent] }>;
let daemon: DaemonProcess;

/** A program that says that it is ready and then does nothing. */
const SCRIPT =
  "console.log('hello', process.argv[2]); process.send({ ready: true }); setInterval(() => undefined, 1e6);";

async function next(kind: DaemonEvent['kind']): Promise<DaemonEvent> {
  for (;;) {
    const [event] = (await once(events, 'event')) as [DaemonEvent];
    if (event.kind === kind) return event;
  }
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-daemon-process-'));
  await writeFile(join(directory, 'daemon.mjs'), SCRIPT);
  events = new EventEmitter();
  let starts = 0;
  daemon = new DaemonProcess(
    {
      program: 'daemon',
      script: join(directory, 'daemon.mjs'),
      args: () => [`start ${++starts}`],
      logFile: join(directory, 'log', 'daemon.log'),
      pidFile: join(directory, 'run', 'daemon.pid'),
      restartPauseMs: 10,
    },
    events,
  );
});

afterEach(async () => {
  await daemon.stop();
  await rm(directory, { recursive: true });
});

test('a daemon that dies is started again, with the arguments of that moment, and its log goes on', async () => {
  const ready = next('ready');
  await daemon.start();
  const first = await ready;
  const again = next('ready');
  await daemon.kill('SIGKILL');
  expect((await again).pid).not.toBe(first.pid);
  expect(await readFile(join(directory, 'log', 'daemon.log'), 'utf8')).toBe('hello start 1\nhello start 2\n');
});

test('a daemon that is stopped stays stopped, and leaves no process', async () => {
  const ready = next('ready');
  await daemon.start();
  const { pid } = await ready;
  await daemon.stop();
  expect(daemon.pid).toBeUndefined();
  expect(daemon.isReady).toBe(false);
  expect(startTimeOf(pid)).toBeUndefined();
});

test('the pid file names the process as long as it runs', async () => {
  const ready = next('ready');
  await daemon.start();
  const { pid } = await ready;
  const file = join(directory, 'run', 'daemon.pid');
  expect(JSON.parse(await readFile(file, 'utf8'))).toEqual({ pid, startTime: startTimeOf(pid) });
  const exited = next('exited');
  await daemon.stop();
  await exited;
  await expect(readFile(file)).rejects.toThrow(/ENOENT/);
});

test('a daemon ends with whoever started it, where that is wanted', async () => {
  const spec = { ...daemon.spec, endsWithUs: true, args: undefined };
  const starter = `
    import { EventEmitter } from 'node:events';
    import { DaemonProcess } from ${JSON.stringify(join(import.meta.dirname, 'daemon-process.ts'))};
    const daemon = new DaemonProcess({ ...${JSON.stringify(spec)}, args: () => ['start'] }, new EventEmitter());
    await daemon.start();
    console.log(daemon.pid);`;
  await writeFile(join(directory, 'starter.mjs'), starter);
  const run = spawn(process.execPath, [join(directory, 'starter.mjs')], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(run.stdout, 'data')) as [Buffer];
  const pid = Number(line.toString());
  expect(startTimeOf(pid)).toBeDefined();

  run.kill('SIGKILL');

  await vi.waitUntil(() => startTimeOf(pid) === undefined, { timeout: 20_000 });
});
