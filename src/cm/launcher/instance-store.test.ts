import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { instanceKey, silentLogger } from '../../core/index.ts';
import { InstanceIds } from './instance-ids.ts';
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

test('[R-04] instances keep their ids when the database is lost, whatever order they come back in', async () => {
  const path = join(directory, 'ids.json');
  const file = () => new InstanceIds(path, silentLogger);
  const [a, b] = [testRow('a'), { ...testRow('b'), uid: 5007, gid: 5009 }];
  const store = new InstanceStore(database, file());
  store.save({ requests: [], rows: [a, b] });
  database.exec('DELETE FROM launcher_instances');
  const blank = new InstanceStore(database, file());
  expect(blank.formerIds.get(instanceKey(b.ident))).toEqual({ itemId: 'b', uid: 5007, gid: 5009 });
  blank.save({ requests: [], rows: [a] });
  expect(file().all.get(instanceKey(b.ident))).toMatchObject({ uid: 5007 });
  blank.save({ requests: [], rows: [] });
  expect(file().all.get(instanceKey(a.ident))).toBeUndefined();
  await writeFile(path, 'no JSON');
  expect(file().all.size).toBe(0);
});
