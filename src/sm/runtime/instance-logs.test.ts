import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { InstanceLogs, keepPreviousLog, previousLogFile } from './instance-logs.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-logs-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** As conmon begins a new file. */
function turn(logFile: string, text: string): void {
  writeFileSync(`${logFile}.tmp`, text);
  renameSync(`${logFile}.tmp`, logFile);
}

test('the file before the present one stays, older ones go', () => {
  const logFile = join(directory, 'log');
  const texts = () => [logFile, previousLogFile(logFile)].map((path) => existsSync(path) && readFileSync(path, 'utf8'));
  keepPreviousLog(logFile);
  writeFileSync(logFile, 'one');
  keepPreviousLog(logFile);
  expect(texts()).toEqual(['one', false]);
  writeFileSync(logFile, ' and more', { flag: 'a' });
  turn(logFile, 'two');
  keepPreviousLog(logFile);
  keepPreviousLog(logFile);
  expect(texts()).toEqual(['two', 'one and more']);
  turn(logFile, 'three');
  keepPreviousLog(logFile);
  expect(texts()).toEqual(['three', 'two']);
});

test('logs of instances that are gone are kept for a week, and only so many', async () => {
  const logs = new InstanceLogs(directory);
  const now = new Date();
  const make = async (id: string, ageMs: number) => {
    logs.prepare();
    writeFileSync(logs.file(id), '');
    const at = new Date(now.getTime() - ageMs);
    await utimes(logs.file(id), at, at);
  };
  const day = 86_400_000;
  await make('known', 30 * day);
  await make('old', 8 * day);
  for (let n = 0; n < 70; n += 1) await make(`recent-${n}`, n * 1000);
  await mkdir(join(directory, 'empty'));
  await logs.prune(new Set(['known']), now);
  const exists = (name: string) => existsSync(join(directory, name));
  const names = ['known.log', 'old.log', 'recent-0.log', 'recent-63.log', 'recent-64.log', 'empty'];
  expect(names.map(exists)).toEqual([true, false, true, true, false, false]);
});

test('of an instance that is gone for good no file stays, and none of another one goes', async () => {
  const logs = new InstanceLogs(join(directory, 'logs'));
  logs.prepare();
  for (const id of ['gone', 'other']) {
    writeFileSync(logs.file(id), 'one');
    keepPreviousLog(logs.file(id));
    turn(logs.file(id), 'two');
    keepPreviousLog(logs.file(id));
  }
  // As versions before kept it.
  await mkdir(join(directory, 'logs', 'gone'));
  logs.forget('gone');
  expect(readdirSync(join(directory, 'logs'))).toEqual(['other.log', 'other.log.1', 'other.log.keep']);
});

test('no logs at all are no error', async () => {
  await new InstanceLogs(join(directory, 'nothing')).prune(new Set(), new Date());
});
