import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { LINK_TABLES, SqliteOutboxStore } from './outbox-store.ts';

const SCRIPT = join(import.meta.dirname, 'keep-states-for-tests.ts');

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'outbox-'));
});

afterEach(() => rm(directory, { recursive: true }));

/** What is stored after a process with this fault has come to its end. */
async function storedAfter(fault: string): Promise<string[]> {
  const path = join(directory, 'cm.db');
  const child = spawn(process.execPath, [SCRIPT, path], {
    env: { ...process.env, AOS_FAULT: fault },
    stdio: 'inherit',
  });
  const [code, signal] = await once(child, 'close');
  expect([code, signal]).toEqual(fault ? [null, 'SIGKILL'] : [0, null]);
  const database = await openDatabase(path, [LINK_TABLES], silentLogger);
  try {
    return new SqliteOutboxStore(database).load().map(({ frame }) => frame.toString());
  } finally {
    database.close();
  }
}

test.each([
  ['link.outbox.put.before-commit', []],
  ['link.outbox.put.committed', ['old']],
  ['link.outbox.put.before-commit#2', ['old']],
  ['link.outbox.put.committed#2', ['new']],
  ['link.outbox.remove.before-commit', ['new']],
  ['link.outbox.remove.committed', []],
  ['', []],
])('[R-01] killed at "%s" a state is there before or after the step, never in between', async (fault, expected) => {
  expect(await storedAfter(fault)).toEqual(expected);
});
