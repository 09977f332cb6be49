/** A CM that dies while it begins the way back, or while a lock comes or goes (spec/beyond.md R-01). */
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { NOTHING_DESIRED } from './desired-model.ts';
import { GATE_TABLES } from './update-gate.ts';
import { UPDATE_TABLES, UpdateStore } from './update-store.ts';

const SCRIPT = join(import.meta.dirname, 'crash-for-tests.ts');
let directory: string;
const path = () => join(directory, 'cm.db');
const open = () => openDatabase(path(), [UPDATE_TABLES + GATE_TABLES], silentLogger);

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-updates-crash-'));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

function run(act: string, AOS_FAULT = ''): string | null {
  const env = { ...process.env, AOS_FAULT };
  return spawnSync(process.execPath, [SCRIPT, path(), act], { env, stdio: 'inherit' }).signal;
}

test.each([
  ['cm.update.roll-back.before-commit', 'activating', 0],
  ['cm.update.roll-back.committed', 'downloading', 1],
])(
  '[R-01] [P-19] killed at %s it goes on in "%s", and knows of as many rejected versions',
  async (fault, state, count) => {
    const before = await open();
    new UpdateStore(before).accept(NOTHING_DESIRED, 'activating', 1);
    before.close();
    expect(run('roll-back', fault)).toBe('SIGKILL');
    const after = await open();
    const stored = new UpdateStore(after).load(silentLogger);
    after.close();
    expect([stored.state, stored.rejected.length]).toEqual([state, count]);
  },
);

test.each([
  ['lock', 'cm.update.lock.before-commit', 0],
  ['lock', 'cm.update.lock.committed', 1],
  ['unlock', 'cm.update.lock.before-commit', 1],
  ['unlock', 'cm.update.lock.committed', 0],
])('[R-01] [P-20] killed in "%s" at %s there is a lock or none', async (act, fault, count) => {
  if (act === 'unlock') expect(run('lock')).toBeNull();
  expect(run(act, fault)).toBe('SIGKILL');
  const after = await open();
  const locks = after.prepare('SELECT owner FROM update_locks').all();
  after.close();
  expect(locks).toHaveLength(count);
});
