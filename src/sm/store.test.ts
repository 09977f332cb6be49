/** What the SM remembers, over its versions (spec/decisions.md 6). */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../core/index.ts';
import { InstanceRows } from './launcher/index.ts';
import type { InstanceInfo } from './model.ts';
import { openStore } from './store.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-store-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const path = () => join(directory, 'aos-sm.db');
const info = {
  ident: { itemId: 'a', subjectId: 's', instance: 0, type: 'service', preinstalled: false },
} as unknown as InstanceInfo;

describe('[SM-64] the database', () => {
  test('keeps what it has when the same version opens it again', async () => {
    const first = await openStore(directory, silentLogger);
    new InstanceRows(first).intend([info], []);
    first.close();
    const again = await openStore(directory, silentLogger);
    expect(new InstanceRows(again).all()).toEqual([{ info, isWanted: true, launched: undefined }]);
    again.close();
  });

  test('[X-17] of an older version gets the tables of this one, and loses nothing', async () => {
    const old = new DatabaseSync(path());
    old.exec('CREATE TABLE former (value TEXT); INSERT INTO former VALUES (1)');
    old.close();
    const database = await openStore(directory, silentLogger);
    expect(database.prepare('SELECT value FROM former').get()).toEqual({ value: '1' });
    expect(new InstanceRows(database).all()).toEqual([]);
    database.close();
  });

  test('of a newer version is refused in words, and stays as it is', async () => {
    (await openStore(directory, silentLogger)).close();
    const newer = new DatabaseSync(path());
    newer.exec('PRAGMA user_version = 99');
    newer.close();
    await expect(openStore(directory, silentLogger)).rejects.toThrow(/newer|99/);
    const same = new DatabaseSync(path());
    expect(same.prepare('PRAGMA user_version').get()).toEqual({ user_version: 99 });
    same.close();
  });

  test('that is damaged is set aside, and the service manager starts', async () => {
    await writeFile(
      path(),
      'no database at all, but longer than a header of a hundred bytes would have to be: '.repeat(20),
    );
    (await openStore(directory, silentLogger)).close();
    expect((await readdir(directory)).some((name) => name.includes('.corrupt-'))).toBe(true);
  });

  test('of the C++ implementation beside it is not touched', async () => {
    await writeFile(join(directory, 'servicemanager.db'), 'theirs');
    (await openStore(directory, silentLogger)).close();
    expect(await readdir(directory)).toContain('servicemanager.db');
  });
});
