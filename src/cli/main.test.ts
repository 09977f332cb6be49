/** What only a process can meet: who listens to it goes away, and Ctrl-C. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { EXIT } from './exit-codes.ts';

const MAIN = join(import.meta.dirname, 'main.ts');

test('a command whose notes nobody reads any more does what it was asked for', async () => {
  const child = spawn(process.execPath, [MAIN, '--json', 'why'], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'exit');
  child.stderr.destroy();
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await once(child.stdout, 'close');
  expect(await ended).toEqual([EXIT.usage, null]);
  expect(said).toMatch(/missing required argument/);
});

test('one that waits for an answer says how it ends with Ctrl-C, and so it ends', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'aosctl-main-'));
  const socket = join(directory, 'cm.sock');
  // It hears the question, and says nothing.
  const daemon = createServer();
  await new Promise<void>((resolve) => daemon.listen(socket, resolve));
  const child = spawn(process.execPath, [MAIN, '--socket', socket, 'status'], { stdio: ['ignore', 'ignore', 'pipe'] });
  try {
    const asked = once(daemon, 'connection');
    const [connection] = await asked;
    const ended = once(child, 'exit');
    child.kill('SIGINT');
    const [words] = await once(child.stderr, 'data');
    expect(String(words)).toMatch(/^aosctl: it waits for an answer.*Ctrl-C once more ends it at once\n$/);
    child.kill('SIGINT');
    expect(await ended).toEqual([null, 'SIGINT']);
    connection.destroy();
  } finally {
    child.kill('SIGKILL');
    daemon.close();
    await rm(directory, { recursive: true });
  }
});
