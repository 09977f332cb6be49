import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { InstanceStore, LAUNCHER_TABLES } from './instance-store.ts';
import { testRow } from './row-for-tests.ts';
import { request } from './unit-for-tests.ts';

let directory: string;
let database: DatabaseSync;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'aos-instances-'));
  database = new DatabaseSync(join(directory, 'test.db'));
  database.exec(LAUNCHER_TABLES);
});

afterEach(() => {
  database.close();
  rmSync(directory, { recursive: true, force: true });
});

test('what is saved is read again, in the same order and with every member', () => {
  const rows = [
    testRow('b', {
      labels: ['x'],
      alertRules: { partitions: [{ name: 'p', minTimeoutMs: 1, minThreshold: 2, maxThreshold: 3 }] },
    }),
    testRow('a', { state: 'cached', isPinned: true, storagePath: 'a/subject/0', because: 'no longer wanted' }),
  ];
  const requests = [request('b', '1.0.0')];
  new InstanceStore(database).save({ requests, rows });
  const again = new InstanceStore(database);
  expect([again.rows, again.requests]).toEqual([rows, requests]);
  expect(again.rowsOf('main').map(({ ident }) => ident.itemId)).toEqual(['b']);
});

test('saving the same again writes nothing', () => {
  const store = new InstanceStore(database);
  const state = { requests: [request('a', '1.0.0')], rows: [testRow('a'), testRow('b')] };
  store.save(state);
  const changes = () => database.prepare('SELECT total_changes() AS n').get()!.n;
  const before = changes();
  new InstanceStore(database).save(structuredClone(state));
  expect(changes()).toBe(before);
});

test.each([
  ['launcher.save.before-commit', ['old']],
  ['launcher.save.committed', ['a', 'b']],
])('a CM that dies at %s leaves the old rows or the new ones', (fault, expected) => {
  new InstanceStore(database).save({ requests: [], rows: [testRow('old')] });
  const script = join(import.meta.dirname, 'crash-for-tests.ts');
  const { signal } = spawnSync(process.execPath, [script, join(directory, 'test.db')], {
    env: { ...process.env, AOS_FAULT: fault },
  });
  expect(signal).toBe('SIGKILL');
  expect(new InstanceStore(database).rows.map(({ ident }) => ident.itemId)).toEqual(expected);
});
