import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { silentLogger } from '../core/index.ts';
import { DatabaseCopy, openDatabase } from '../storage/index.ts';
import { InstanceStore } from './launcher/index.ts';
import { testRow } from './launcher/row-for-tests.ts';
import { CM_MIGRATIONS, DATABASE_FILE, openCmStore } from './store.ts';
import { NOTHING_DESIRED, UpdateStore } from './updates/index.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cm-store-'));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

const path = () => join(directory, DATABASE_FILE);

/** What a CM of the first version leaves. */
async function writeOld(): Promise<void> {
  const database = await openCmStore(directory, silentLogger);
  new UpdateStore(database).accept(NOTHING_DESIRED, 'launching', 7);
  database.close();
}

const NEXT = [...CM_MIGRATIONS, 'ALTER TABLE update_run ADD COLUMN news TEXT'];

test('[CM-131] a newer version takes over the database of an older one, and keeps a copy of it', async () => {
  await writeOld();
  const database = await openDatabase(path(), NEXT, silentLogger);
  expect(database.prepare('SELECT state, since, news FROM update_run').get()).toEqual({
    state: 'launching',
    since: 7,
    news: null,
  });
  database.close();
  expect(await readdir(directory)).toContain(`${DATABASE_FILE}.before-${CM_MIGRATIONS.length + 1}`);
});

test('[CM-131] a step that fails leaves the database as it was', async () => {
  await writeOld();
  await expect(openDatabase(path(), [...NEXT, 'no SQL'], silentLogger)).rejects.toThrow();
  const database = await openCmStoreOf(NEXT);
  expect(new UpdateStore(database).load(silentLogger)).toMatchObject({ state: 'launching', sinceMs: 7 });
  database.close();
});

test('[CM-131] an older version refuses the database of a newer one in words', async () => {
  (await openDatabase(path(), NEXT, silentLogger)).close();
  await expect(openCmStore(directory, silentLogger)).rejects.toThrow(/version 2, this program knows up to 1/);
});

test('[R-04] a database that is none is set aside, and the CM begins anew', async () => {
  await writeFile(path(), Buffer.alloc(8192, 'not a database'));
  const database = await openCmStore(directory, silentLogger);
  expect(new UpdateStore(database).load(silentLogger)).toEqual({ state: 'none', sinceMs: 0, rejected: [] });
  database.close();
  expect((await readdir(directory)).some((name) => name.startsWith(`${DATABASE_FILE}.corrupt-`))).toBe(true);
});

describe('[R-04] the copy of a damaged database', () => {
  /** A database whose copy knows `launching`, and which went on since. */
  async function writeWithCopy(): Promise<void> {
    const database = await openCmStore(directory, silentLogger);
    const store = new UpdateStore(database);
    store.accept(NOTHING_DESIRED, 'launching', 7);
    const copy = new DatabaseCopy({ database, path: path(), logger: silentLogger });
    copy.refresh();
    await vi.waitUntil(() => existsSync(`${path()}.copy`));
    await copy.stop();
    store.enter('finalizing', 8);
    database.close();
  }

  test('takes its place: the CM knows what was so when it was made', async () => {
    await writeWithCopy();
    await writeFile(path(), Buffer.alloc(8192, 'not a database'));
    const database = await openCmStore(directory, silentLogger);
    expect(new UpdateStore(database).load(silentLogger)).toMatchObject({ state: 'launching', sinceMs: 7 });
    database.close();
    // The copy stays one: the next damage finds it again.
    expect(await readdir(directory)).toContain(`${DATABASE_FILE}.copy`);
  });

  test('has the ids that own the files of instances, and with them their places', async () => {
    const database = await openCmStore(directory, silentLogger);
    const rows = [{ ...testRow('a'), uid: 5007, gid: 5009 }, testRow('b')];
    new InstanceStore(database).save({ requests: [], rows });
    const copy = new DatabaseCopy({ database, path: path(), logger: silentLogger });
    copy.refresh();
    await vi.waitUntil(() => existsSync(`${path()}.copy`));
    await copy.stop();
    database.close();
    await writeFile(path(), Buffer.alloc(8192, 'not a database'));
    const restored = await openCmStore(directory, silentLogger);
    expect(new InstanceStore(restored).rows).toEqual(rows);
    restored.close();
  });

  test('is not looked at while the database is well', async () => {
    await writeWithCopy();
    const database = await openCmStore(directory, silentLogger);
    expect(new UpdateStore(database).load(silentLogger)).toMatchObject({ state: 'finalizing', sinceMs: 8 });
    database.close();
  });

  test('is set aside too when it is damaged itself', async () => {
    await writeWithCopy();
    await writeFile(path(), Buffer.alloc(8192, 'not a database'));
    await writeFile(`${path()}.copy`, Buffer.alloc(8192, 'no copy either'));
    const database = await openCmStore(directory, silentLogger);
    expect(new UpdateStore(database).load(silentLogger)).toEqual({ state: 'none', sinceMs: 0, rejected: [] });
    database.close();
    expect((await readdir(directory)).filter((name) => /\.corrupt-\d+$/.test(name))).toHaveLength(2);
  });

  test('takes what was asked for meanwhile in one more copy', async () => {
    const database = await openCmStore(directory, silentLogger);
    const store = new UpdateStore(database);
    const copy = new DatabaseCopy({ database, path: path(), logger: silentLogger });
    copy.refresh();
    store.accept(NOTHING_DESIRED, 'activating', 9);
    copy.refresh();
    await vi.waitFor(() => {
      const copied = new DatabaseSync(`${path()}.copy`, { readOnly: true });
      try {
        expect(copied.prepare('SELECT state FROM update_run').get()).toEqual({ state: 'activating' });
      } finally {
        copied.close();
      }
    });
    await copy.stop();
    database.close();
  });
});

const openCmStoreOf = (migrations: readonly string[]) => openDatabase(path(), migrations, silentLogger);
