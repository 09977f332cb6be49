import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { runHook } from './run-hook.ts';

const never = new AbortController().signal;
const run = (script: string, timeoutMs = 60_000, signal = never, env?: NodeJS.ProcessEnv) =>
  runHook(['sh', '-c', script], { timeoutMs, signal, ...(env ? { env } : {}) });

test('an empty hook is success, and so is exit status 0', async () => {
  await runHook([], { timeoutMs: 1, signal: never });
  await run('exit 0');
});

test('[IAM-27] a hook that fails tells its status and the beginning of its output', async () => {
  await expect(run('echo no disk; echo here >&2; exit 3')).rejects.toMatchObject({
    code: 'runtime',
    exitCode: 3,
    message: 'exit=3: no disk\nhere',
  });
  await expect(run(`printf '%0300d' 7; exit 1`)).rejects.toMatchObject({ message: `exit=1: ${'0'.repeat(128)}...` });
});

test('death by a signal is a failure', async () => {
  await expect(run('kill -9 $$')).rejects.toMatchObject({ code: 'runtime', message: 'exit=-1' });
});

test('a program that is not there is named', async () => {
  const hook = runHook(['/nonexistent/hook'], { timeoutMs: 1000, signal: never });
  await expect(hook).rejects.toMatchObject({ code: 'runtime', message: expect.stringMatching(/nonexistent\/hook/) });
});

test('what a hook leaves in the background, holding its output, is not waited for', async () => {
  const hook = run('sleep 60 & echo pid=$!; exit 1');
  const { message } = await hook.then(
    () => ({ message: '' }),
    (error: Error) => error,
  );
  const pid = Number(/pid=(\d+)/.exec(message)?.[1]);
  // It still runs, so nobody waited for it; now it may go.
  expect(process.kill(pid, 'SIGKILL')).toBe(true);
});

test('a hook that hangs is ended, with everything it started', async () => {
  await expect(run('sleep 60 & sleep 60', 100)).rejects.toMatchObject({ code: 'timeout' });
});

test('a hook that ends just in time is success, and what it left in the background goes on', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'aos-hook-'));
  const pids = join(directory, 'pids');
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    const hook = run(`sleep 60 & echo $$ $! > ${pids}; exit 0`, 100);
    const [own, left] = await vi.waitUntil(
      async () => {
        const numbers = (await readFile(pids, 'utf8').catch(() => '')).split(' ').map(Number);
        return numbers.length === 2 && !isThere(numbers[0]!) && numbers;
      },
      { timeout: 60_000 },
    );
    await new Promise((resolve) => setImmediate(resolve));
    await vi.advanceTimersByTimeAsync(150);
    await vi.advanceTimersByTimeAsync(150);
    await hook;
    expect(own).not.toBe(left);
    expect(process.kill(left!, 'SIGKILL')).toBe(true);
  } finally {
    vi.useRealTimers();
    await rm(directory, { recursive: true });
  }
});

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test('a daemon that stops does not wait for a hook', async () => {
  const abort = new AbortController();
  const hook = run('sleep 1', 60_000, abort.signal);
  abort.abort();
  await expect(hook).rejects.toMatchObject({ code: 'canceled' });
});

test('the hook does not get the socket of the service manager, nor a password', async () => {
  const env = { PATH: process.env.PATH, NOTIFY_SOCKET: '/run/notify' };
  await expect(run('env; exit 1', 60_000, never, env)).rejects.toMatchObject({
    message: expect.not.stringMatching(/NOTIFY_SOCKET/),
  });
});
