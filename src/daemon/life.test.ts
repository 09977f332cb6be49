import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-life-'));
  const said = join(directory, 'said');
  await writeFile(join(directory, 'systemd-notify'), `#!/bin/sh\necho "$*" >>'${said}'\n`);
  await chmod(join(directory, 'systemd-notify'), 0o755);
  await writeFile(said, '');
  await writeFile(
    join(directory, 'daemon.ts'),
    `import { runDaemon } from '${join(import.meta.dirname, 'life.ts')}';
await runDaemon({ name: 'aos-test', version: '1', defaultConfigPath: 'x', checks: {}, run: async (life) => {
  const timer = setInterval(() => undefined, 1000);
  life.use('timer', { stop: () => clearInterval(timer) });
} });`,
  );
});

afterEach(() => rm(directory, { recursive: true }));

function start(env: Readonly<Record<string, string>>) {
  return spawn(process.execPath, [join(directory, 'daemon.ts')], {
    stdio: 'ignore',
    env: { PATH: `${directory}:${process.env.PATH}`, ...env },
  });
}

const said = async () => (await readFile(join(directory, 'said'), 'utf8')).split('\n').filter(Boolean);

test('[P-16] systemd hears when a daemon is ready, and then regularly that it is not hung', async () => {
  const daemon = start({ NOTIFY_SOCKET: '/run/nobody', WATCHDOG_USEC: '200000' });
  const ended = once(daemon, 'exit');
  await vi.waitUntil(async () => (await said()).length >= 3, { timeout: 60_000 });
  expect((await said()).slice(0, 3)).toEqual(['--ready STATUS=', 'WATCHDOG=1', 'WATCHDOG=1']);
  daemon.kill('SIGTERM');
  expect(await ended).toEqual([0, null]);
}, 90_000);

test('a unit without a watchdog hears that it is ready, and no more', async () => {
  const daemon = start({ NOTIFY_SOCKET: '/run/nobody' });
  const ended = once(daemon, 'exit');
  await vi.waitUntil(async () => (await said()).length >= 1, { timeout: 60_000 });
  daemon.kill('SIGTERM');
  await ended;
  expect(await said()).toEqual(['--ready STATUS=']);
}, 90_000);
