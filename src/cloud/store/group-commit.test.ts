import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { GroupCommit } from './group-commit.ts';
import type { Sql } from './sql.ts';
import { SqliteDatabase } from './sqlite.ts';

let connection: DatabaseSync;
let database: SqliteDatabase;
let group: GroupCommit;

beforeEach(() => {
  connection = new DatabaseSync(':memory:');
  connection.exec('CREATE TABLE names (name TEXT PRIMARY KEY) STRICT');
  database = new SqliteDatabase(connection);
  group = new GroupCommit(database, silentLogger);
});

afterEach(() => database.stop());

const add = (name: string) => async (sql: Sql) => {
  await sql.run('INSERT INTO names VALUES (?)', name);
  return name;
};
const names = async () => {
  const rows = await database.read((sql) => sql.all<{ name: string }>('SELECT name FROM names ORDER BY name'));
  return rows.map((row) => row.name);
};

describe('GroupCommit', () => {
  test('what comes together is committed together, and told of afterwards only', async () => {
    const told: string[] = [];
    const all = ['a', 'b', 'c'].map((name) =>
      group.run(add(name)).then((answer) => {
        expect(connection.isTransaction).toBe(false);
        told.push(answer);
      }),
    );
    expect(await names()).toEqual([]);
    await Promise.all(all);
    expect(told).toEqual(['a', 'b', 'c']);
    expect(await names()).toEqual(['a', 'b', 'c']);
  });

  test('one that fails leaves nothing behind, and the others stay', async () => {
    const failing = group.run(async (sql) => {
      await add('half')(sql);
      throw new Error('in the middle');
    });
    const fine = group.run(add('fine'));
    group.note('twice', add('fine'));
    await expect(failing).rejects.toThrow('in the middle');
    await fine;
    expect(await names()).toEqual(['fine']);
  });

  test('one that is alone and fails leaves nothing behind either', async () => {
    const failing = group.run(async (sql) => {
      await add('half')(sql);
      throw new Error('in the middle');
    });
    await expect(failing).rejects.toThrow('in the middle');
    expect(await names()).toEqual([]);
  });

  test('a commit that fails is told to all, and the next one goes on', async () => {
    connection.exec('CREATE TABLE strict (id INTEGER REFERENCES names (name) DEFERRABLE INITIALLY DEFERRED)');
    connection.exec('PRAGMA foreign_keys = ON');
    const bad = [group.run(add('a')), group.run((sql) => sql.run('INSERT INTO strict VALUES (1)'))];
    for (const outcome of await Promise.allSettled(bad)) expect(outcome.status).toBe('rejected');
    expect(await names()).toEqual([]);
    await group.run(add('later'));
    expect(await names()).toEqual(['later']);
  });

  test('what waits is written before it is read', async () => {
    group.note('a name', add('early'));
    await group.flush();
    expect(await names()).toEqual(['early']);
  });

  test('it does not get into a transaction of somebody else', async () => {
    const mine = group.run(add('mine'));
    const other = database.write(async (sql) => {
      await add('undone')(sql);
      // As long as a transaction may take: commits of the group come to their turn meanwhile.
      for (let round = 0; round < 3; round += 1) await new Promise((resolve) => setImmediate(resolve));
      throw new Error('not this one');
    });
    await expect(other).rejects.toThrow('not this one');
    await mine;
    expect(await names()).toEqual(['mine']);
  });
});
