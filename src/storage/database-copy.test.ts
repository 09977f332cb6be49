/** A daemon that dies while it copies its database, or takes the copy (spec/beyond.md ). */
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../core/index.ts';
import { openDatabase } from './database.ts';

let directory: string;
const path = () => join(directory, 'test.db');

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-copy-'));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

/** A process that writes a text, if there is one, and copies; it answers by which signal it ended. */
function run(text: string, fault = ''): string | null {
  const script = join(import.meta.dirname, 'copy-for-tests.ts');
  const env = { ...process.env, AOS_FAULT: fault };
  return spawnSync(process.execPath, [script, path(), text], { env, stdio: 'inherit' }).signal;
}

const damage = () => writeFile(path(), Buffer.alloc(8192, 'no database'));

async function texts(): Promise<unknown[]> {
  const database = await openDatabase(path(), ['CREATE TABLE texts (text TEXT) STRICT'], silentLogger);
  const rows = database.prepare('SELECT text FROM texts').all();
  database.close();
  return rows.map(({ text }) => text);
}

const temporary = async () => (await readdir(directory)).filter((name) => name.startsWith('.tmp-'));

test.each([
  ['storage.database-copy.written', 'old'],
  ['storage.database-copy.renamed', 'new'],
])('[R-01] [R-04] killed at %s the copy is the former one or the new one, whole', async (fault, expected) => {
  expect(run('old')).toBeNull();
  expect(run('new', fault)).toBe('SIGKILL');
  await rm(`${path()}-wal`, { force: true });
  await damage();
  expect(await texts()).toEqual([expected]);
  expect(await temporary()).toEqual([]);
});

test.each(['storage.database-restore.written', 'storage.database-restore.renamed'])(
  '[R-01] [R-04] killed at %s the copy is taken the next time',
  async (fault) => {
    expect(run('old')).toBeNull();
    await damage();
    expect(run('', fault)).toBe('SIGKILL');
    expect(await texts()).toEqual(['old']);
    expect(await temporary()).toEqual([]);
  },
);
