import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { recordingLogger } from './link-for-tests.ts';
import { MessageLog } from './message-log.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'message-log-'));
});

afterEach(() => rm(directory, { recursive: true }));

test('[CM-13] frames stand in their order, in a file that only its owner reads', async () => {
  const path = join(directory, 'below', 'cloud.log');
  const log = new MessageLog(path, 1000, silentLogger);
  log.received(Buffer.from('one'));
  log.transmitted(Buffer.from('two'));
  await log.flush();
  expect(await readFile(path, 'utf8')).toBe('RX: one\nTX: two\n');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

test('[CM-13] a full log moves aside once, so that it never grows without bound', async () => {
  const path = join(directory, 'cloud.log');
  for (let run = 0; run < 2; run += 1) {
    const log = new MessageLog(path, 20, silentLogger);
    for (const text of ['0123456789', 'abcdefghij', 'ABCDEFGHIJ']) log.received(Buffer.from(text));
    await log.flush();
  }
  expect((await readdir(directory)).sort()).toEqual(['cloud.log', 'cloud.log.1']);
  expect(await readFile(path, 'utf8')).toBe('RX: ABCDEFGHIJ\n');
});

test('without a path nothing is written; a log that cannot be written is a warning', async () => {
  const { logger, lines } = recordingLogger();
  const none = new MessageLog('', 20, logger);
  none.received(Buffer.from('x'));
  await none.flush();
  expect(lines).toEqual([]);
  await writeFile(join(directory, 'file'), '');
  const impossible = new MessageLog(join(directory, 'file', 'cloud.log'), 20, logger);
  impossible.received(Buffer.from('x'));
  await impossible.flush();
  expect(lines[0]).toContain('cannot write the cloud message log');
});
