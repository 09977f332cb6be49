/** Transactions on SQLite's one connection. */
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AosError, silentLogger } from '../../core/index.ts';
import { CloudDatabase } from './cloud-database.ts';
import { MIGRATIONS } from './migrations.ts';
import type { Sql } from './sql.ts';
import { SqliteDatabase } from './sqlite.ts';

const LIMITS = {
  ...{ messages: 10, alerts: 10, samples: { maxAgeMs: 1000, maxCount: 100 } },
  logs: { maxAgeMs: 1000, maxBytes: 1000 },
};

let database: SqliteDatabase;
let connection: DatabaseSync;

beforeEach(() => {
  connection = new DatabaseSync(':memory:');
  for (const migration of MIGRATIONS) connection.exec(migration);
  database = new SqliteDatabase(connection);
});

afterEach(() => database.stop());

const pause = () => new Promise((resolve) => setImmediate(resolve));
const put = (sql: Sql, target: string) =>
  sql.run(`INSERT INTO targetConfigs (target, config) VALUES (?, '{}')`, target);
const count = async (sql: Sql) =>
  (await sql.get<{ count: number }>('SELECT COUNT(*) AS count FROM targetConfigs'))!.count;

describe('SqliteDatabase', () => {
  test('one that reads sees one moment, however long it takes', async () => {
    const seen = database.read(async (sql) => {
      const before = await count(sql);
      await pause();
      return [before, await count(sql)];
    });
    const written = database.write((sql) => put(sql, 'a'));
    expect(await seen).toEqual([0, 0]);
    await written;
    expect(await database.read(count)).toBe(1);
  });

  test('two that look and then write do not get between each other', async () => {
    const addIfNone = () =>
      database.write(async (sql) => {
        if ((await count(sql)) > 0) return false;
        await pause();
        await put(sql, 'first');
        return true;
      });
    expect(await Promise.all([addIfNone(), addIfNone()])).toEqual([true, false]);
  });

  test('what only reads cannot write, and nothing can be done when it is over', async () => {
    await expect(database.read((sql) => put(sql, 'a'))).rejects.toThrow(/only reads/);
    let late: Sql | undefined;
    await database.write(async (sql) => {
      late = sql;
    });
    await expect(put(late!, 'a')).rejects.toThrow(/is over/);
    expect(await database.read(count)).toBe(0);
  });

  test('one that can be neither done nor rolled back tells first why it could not be done, and the next one goes on', async () => {
    const exec = connection.exec.bind(connection);
    connection.exec = (sql) => {
      exec(sql);
      if (sql === 'ROLLBACK') throw new Error('disk I/O error');
    };
    const failing = database.write(async (sql) => {
      await put(sql, 'a');
      throw new AosError('notFound', 'there is no unit "u"');
    });
    await expect(failing).rejects.toMatchObject({
      code: 'notFound',
      message: 'there is no unit "u"; nor could the transaction be rolled back: disk I/O error',
    });
    expect(await database.read(count)).toBe(0);
  });

  test('a stop waits for what was asked for, and refuses what comes later', async () => {
    const slow = database.write(async (sql) => {
      await pause();
      await put(sql, 'a');
      return count(sql);
    });
    const stopped = database.stop();
    await expect(database.read(count)).rejects.toThrow(/is closed/);
    await stopped;
    expect(await slow).toBe(1);
  });
});

describe('CloudDatabase', () => {
  test('a transaction within a transaction is refused: it would wait for itself', async () => {
    const cloud = new CloudDatabase(database, LIMITS, silentLogger);
    for (const inner of [
      () => cloud.read(async () => 1),
      () => cloud.write(async () => 1),
      () => cloud.writeTogether(async () => 1),
    ]) {
      await expect(cloud.write(inner)).rejects.toThrow(/within a transaction/);
      await expect(cloud.read(inner)).rejects.toThrow(/within a transaction/);
    }
    expect(await cloud.read(({ units }) => units.list())).toEqual([]);
  });

  test('notes can be read when they are flushed, and are kept by a stop', async () => {
    const cloud = new CloudDatabase(database, LIMITS, silentLogger);
    const news = { systemId: 'u', at: '2026-01-01T00:00:00.000Z', event: 'connected', data: {} } as const;
    cloud.note('an event', ({ history }) => history.addEvent(news));
    await cloud.flush();
    expect(await cloud.read(({ history }) => history.events('u', 10))).toHaveLength(1);
    const kept = cloud.writeTogether(({ history }) => history.addEvent(news));
    await cloud.stop();
    await kept;
  });
});
