/** A CM that dies at each durable write about a state (spec/beyond.md R-01). */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Act, act } from './acts-for-tests.ts';
import { stateChecksumOf } from './state-file.ts';
import { STATE_TABLES } from './state-store.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-state-crash-'));
  const database = new DatabaseSync(join(directory, 'test.db'));
  database.exec(STATE_TABLES);
  database.close();
});

afterEach(() => rm(directory, { recursive: true, force: true }));

/** The act in a process of its own that dies at a fault point; answers how it ended. */
function die(fault: string, what: Act, state = ''): string {
  const script = join(import.meta.dirname, 'crash-for-tests.ts');
  const env = { ...process.env, AOS_FAULT: fault };
  const { signal, stderr } = spawnSync(process.execPath, [script, directory, what, state], { env });
  return signal ?? stderr.toString();
}

const stateFile = () => join(directory, 'states', 'item', 'subject', '0', 'state.dat');

/** Checksums of states that the cloud knows of. */
function knownChecksums(): unknown[] {
  const database = new DatabaseSync(join(directory, 'test.db'));
  const rows = database.prepare('SELECT checksum FROM state_instances').all();
  database.close();
  return rows.map(({ checksum }) => checksum);
}

test.each([
  ['storage-state.previous.written', 'old'],
  ['storage-state.previous.renamed', 'old'],
  ['storage-state.next.written', 'old'],
  ['storage-state.next.renamed', 'given by the cloud'],
  ['storage-state.save.before-commit', 'given by the cloud'],
  ['storage-state.save.committed', 'given by the cloud'],
  ['storage-state.overwritten', 'given by the cloud'],
  ['storage-state.in-place', 'given by the cloud'],
])(
  '[R-01] [CM-105] at %s has the old state or the new one after its next start, and knows which',
  async (fault, expected) => {
    await act(directory, 'prepare');
    await act(directory, 'update', 'old');
    expect(die(fault, 'update', 'given by the cloud')).toBe('SIGKILL');
    await act(directory, 'start');
    expect(await readFile(stateFile(), 'utf8')).toBe(expected);
    expect(knownChecksums()).toEqual([stateChecksumOf(expected)]);
    expect(existsSync(`${stateFile()}.next`)).toBe(false);
  },
);

test.each([
  'storage-state.next.renamed',
  'storage-state.save.before-commit',
  'storage-state.save.committed',
  'storage-state.overwritten',
  'storage-state.in-place',
])('[R-01] [CM-104] at %s leaves what the instance writes before its next start', async (fault) => {
  await act(directory, 'prepare');
  await act(directory, 'update', 'old');
  expect(die(fault, 'update', 'given by the cloud')).toBe('SIGKILL');
  await writeFile(stateFile(), 'meanwhile');
  await act(directory, 'start');
  expect(await readFile(stateFile(), 'utf8')).toBe('meanwhile');
  // The one that the cloud gave: the other is news for it.
  expect(knownChecksums()).toEqual([stateChecksumOf('given by the cloud')]);
  expect(existsSync(`${stateFile()}.next`)).toBe(false);
});

test.each([
  'storage-state.directory-created',
  'storage-state.directory-created#2',
  'storage-state.save.before-commit',
  'storage-state.save.committed',
])('[R-01] [CM-101] at %s sets the instance up the next time, as if nothing had happened', async (fault) => {
  expect(die(fault, 'prepare')).toBe('SIGKILL');
  await act(directory, 'prepare');
  for (const path of [stateFile(), join(directory, 'storages', 'item', 'subject', '0')]) {
    expect(await stat(path)).toMatchObject({ uid: 5000, gid: 5001 });
  }
  expect(knownChecksums()).toEqual(['']);
});

test.each([
  'storage-state.directory-removed',
  'storage-state.directory-removed#2',
  'storage-state.remove.before-commit',
  'storage-state.remove.committed',
])('[R-01] [CM-108] at %s removes the instance the next time, with all of its data', async (fault) => {
  await act(directory, 'prepare');
  await act(directory, 'update', 'old');
  expect(die(fault, 'remove')).toBe('SIGKILL');
  await act(directory, 'remove');
  expect(knownChecksums()).toEqual([]);
  expect(existsSync(join(directory, 'states', 'item'))).toBe(false);
  expect(existsSync(join(directory, 'storages', 'item'))).toBe(false);
});
