import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { GroupCommit } from './group-commit.ts';

let database: DatabaseSync;
let group: GroupCommit;

beforeEach(() => {
  database = new DatabaseSync(':memory:');
  database.exec('CREATE TABLE names (name TEXT PRIMARY KEY) STRICT');
  group = new GroupCommit(database, silentLogger);
});

afterEach(() => database.close());

const add = (name: string) => () => void database.prepare('INSERT INTO names VALUES (?)').run(name);
const names = () =>
  (database.prepare('SELECT name FROM names ORDER BY name').all() as { name: string }[]).map((row) => row.name);

describe('GroupCommit', () => {
  test('what comes together is committed together, and told of afterwards only', async () => {
    const told: string[] = [];
    const all = ['a', 'b', 'c'].map((name) =>
      group.run(add(name)).then(() => {
        expect(database.isTransaction).toBe(false);
        told.push(name);
      }),
    );
    expect(names()).toEqual([]);
    await Promise.all(all);
    expect(told).toEqual(['a', 'b', 'c']);
    expect(names()).toEqual(['a', 'b', 'c']);
  });

  test('one that fails leaves nothing behind, and the others stay', async () => {
    const failing = group.run(() => {
      add('half')();
      throw new Error('in the middle');
    });
    const fine = group.run(add('fine'));
    group.note('twice', add('fine'));
    await expect(failing).rejects.toThrow('in the middle');
    await fine;
    expect(names()).toEqual(['fine']);
  });

  test('a commit that fails is told to all, and the next one goes on', async () => {
    database.exec('CREATE TABLE strict (id INTEGER REFERENCES names (name) DEFERRABLE INITIALLY DEFERRED)');
    database.exec('PRAGMA foreign_keys = ON');
    const bad = [group.run(add('a')), group.run(() => database.exec('INSERT INTO strict VALUES (1)'))];
    for (const outcome of await Promise.allSettled(bad)) expect(outcome.status).toBe('rejected');
    expect(names()).toEqual([]);
    await group.run(add('later'));
    expect(names()).toEqual(['later']);
  });

  test('what waits is written before it is read', () => {
    group.note('a name', add('early'));
    group.flush();
    expect(names()).toEqual(['early']);
  });

  test('it does not get into a transaction of somebody else', async () => {
    const mine = group.run(add('mine'));
    database.exec('BEGIN');
    group.flush();
    expect(names()).toEqual([]);
    database.exec('ROLLBACK');
    await mine;
    expect(names()).toEqual(['mine']);
  });
});
