import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
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
    await logs.prepare(id);
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
  const exists = (id: string) => existsSync(join(directory, id));
  expect(['known', 'old', 'recent-0', 'recent-63', 'recent-64', 'empty'].map(exists)).toEqual([
    true,
    false,
    true,
    true,
    false,
    false,
  ]);
});

test('no logs at all are no error', async () => {
  await new InstanceLogs(join(directory, 'nothing')).prune(new Set(), new Date());
});
