import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AosError, silentLogger } from '../../../core/index.ts';
import { openDatabase } from '../../../storage/index.ts';
import { MIGRATIONS } from '../migrations.ts';
import { sqlSuite } from '../sql-suite-for-tests.ts';
import { SqliteDatabase } from '../sqlite.ts';
import { PostgresDatabase, type PostgresOptions } from './postgres-database.ts';
import { PostgresForTests } from './postgres-for-tests.ts';
import { migrate } from './schema.ts';

let server: PostgresForTests;

beforeAll(async () => {
  server = await PostgresForTests.start();
});

afterAll(() => server?.close());

const open = (url: string, options: Partial<PostgresOptions> = {}) =>
  PostgresDatabase.open({ url, logger: silentLogger, ...options });

const nameOf = (url: string) => new URL(url).pathname.slice(1);

sqlSuite('SQLite', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'aos-sqlite-'));
  const database = new SqliteDatabase(await openDatabase(join(directory, 'cloud.db'), MIGRATIONS, silentLogger));
  return {
    database,
    close: async () => {
      await database.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
});

/** Made once: that takes a second. */
let shared: string | undefined;

sqlSuite('PostgreSQL', async () => {
  shared ??= await server.createDatabase();
  const database = await open(shared);
  await server.ask(nameOf(shared), 'TRUNCATE units, users, subjects, items, blobs, "leftoverFiles" CASCADE');
  return { database, close: () => database.stop() };
});

async function using(body: (database: PostgresDatabase, url: string) => Promise<void>): Promise<void> {
  const url = await server.createDatabase();
  const database = await open(url);
  try {
    await body(database, url);
  } finally {
    await database.stop();
  }
}

test('has the tables and columns of SQLite, beside those of processes that share it', () =>
  using(async (_, url) => {
    const sqlite = await openDatabase(':memory:', MIGRATIONS, silentLogger);
    const theirs = sqlite
      .prepare(
        `SELECT m.name AS "table", c.name AS "column", c."notnull" OR c.pk > 0 AS filled FROM sqlite_schema m, pragma_table_info(m.name) c
         WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'`,
      )
      .all()
      .map(({ table, column, filled }) => `${table}.${column}${filled ? '' : ' or none'}`);
    sqlite.close();
    const ours = await server.ask(
      nameOf(url),
      `SELECT table_name AS "table", column_name AS "column", is_nullable AS nullable FROM information_schema.columns
       WHERE table_schema = 'public' AND table_name NOT IN ('schemaVersion', 'processes', 'links', 'letters') AND column_name <> 'rowid'`,
    );
    const found = ours.map(({ table, column, nullable }) => `${table}.${column}${nullable === 'NO' ? '' : ' or none'}`);
    expect(found.toSorted()).toEqual(theirs.toSorted());
  }));

test('several processes that start at the same time make the tables once', async () => {
  const url = await server.createDatabase();
  const databases = await Promise.all(Array.from({ length: 4 }, () => open(url)));
  expect(await server.ask(nameOf(url), 'SELECT COUNT(*) AS count FROM "schemaVersion"')).toEqual([{ count: '1' }]);
  await Promise.all(databases.map((database) => database.stop()));
});

test('a database of a newer program is left alone', () =>
  using(async (database, url) => {
    const client = await database.connect();
    try {
      await expect(migrate(client, 'there', ['SELECT 1'])).rejects.toThrow(
        /the database there has version \d+, this program knows up to 1; install the newer program again/,
      );
    } finally {
      await client.end();
    }
    await server.ask(nameOf(url), 'UPDATE "schemaVersion" SET version = 1000');
    await expect(open(url)).rejects.toMatchObject({ code: 'notSupported' });
  }));

test('tables of something else are left alone', async () => {
  const url = await server.createDatabase();
  await server.ask(nameOf(url), 'CREATE TABLE units (theirs TEXT)');
  await expect(open(url)).rejects.toThrow(
    /holds tables of something else: .*"units".*; give this cloud a database of its own/,
  );
  expect(await server.ask(nameOf(url), 'SELECT * FROM units')).toEqual([]);
});

test('a text with a NUL, which PostgreSQL does not store, is stored without it', () =>
  using(async (database) => {
    const insert = `INSERT INTO users (name, role, scope, createdAt) VALUES (?, 'oem', '', '')`;
    await database.write((sql) => sql.run(insert, 'a\0b'));
    expect(await database.read((sql) => sql.get('SELECT name FROM users'))).toEqual({ name: 'a\ufffdb' });
  }));

test('a database that is not there is named, and its password is not', async () => {
  const url = server.url('nowhere').replace('aos@', 'aos:secret@');
  const error = await open(url, { patienceMs: 0 }).catch((reason: Error) => reason.message);
  expect(error).toMatch(/^there is no database \/.*\/nowhere: .*; make one with "createdb"$/);
  expect(error).not.toContain('secret');
});

test('a user that the server does not know is told so', async () => {
  await expect(open(server.url('postgres', 'stranger'), { patienceMs: 0 })).rejects.toThrow(
    /"stranger" does not exist/,
  );
});

test('a server that is not there is named after a while', async () => {
  const url = `postgresql://aos@localhost/cloud?host=${encodeURIComponent('/nonexistent')}`;
  await expect(open(url, { patienceMs: 0 })).rejects.toThrow(/^the database \/nonexistent\/cloud cannot be reached: /);
});

test('a transaction that swallows the refusal of a statement is not taken for done', () =>
  using(async (database) => {
    const swallowing = database.write(async (sql) => {
      await sql.run(`INSERT INTO users (name, role, scope, createdAt) VALUES ('a', 'oem', '', '')`);
      await sql
        .run('INSERT INTO tokens (hash, systemId, expiresAt) VALUES (?, ?, ?)', 'h', 'nobody', '')
        .catch(() => 0);
    });
    await expect(swallowing).rejects.toThrow('undid a transaction one of whose statements had failed');
  }));

test('a transaction that a faster one made void is done anew, even when its body hides the refusal', () =>
  using(async (database) => {
    const insert = `INSERT INTO users (name, role, scope, createdAt) VALUES ('a', '0', '', '')`;
    await database.write((sql) => sql.run(insert));
    let runs = 0;
    await database.write(async (sql) => {
      runs += 1;
      await sql.all('SELECT role FROM users');
      if (runs === 1) await database.write((other) => other.run(`UPDATE users SET role = '1'`));
      await sql.run('SAVEPOINT one');
      try {
        await sql.run(`UPDATE users SET scope = 'x'`);
      } catch {
        await sql.run('ROLLBACK TO SAVEPOINT one').catch(() => undefined);
      }
    });
    expect(runs).toBe(2);
    expect(await database.read((sql) => sql.get('SELECT role, scope FROM users'))).toEqual({ role: '1', scope: 'x' });
  }));

test('a transaction that has failed, and loses its connection too, tells why it failed, and is not done anew', () =>
  using(async (database, url) => {
    let runs = 0;
    const failing = database.write(async (sql) => {
      runs += 1;
      const row = await sql.get<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      await server.ask(nameOf(url), `SELECT pg_terminate_backend(${row!.pid}, 10000)`);
      throw new AosError('notFound', 'there is no unit "u"');
    });
    await expect(failing).rejects.toMatchObject({ code: 'notFound', message: 'there is no unit "u"' });
    expect(runs).toBe(1);
    expect(await database.read((sql) => sql.all('SELECT name FROM users'))).toEqual([]);
  }));

test('a server that is started anew is found again, and what was under way is done anew', async () => {
  const own = await PostgresForTests.start();
  try {
    const database = await open(await own.createDatabase(), { patienceMs: 60_000 });
    const insert = `INSERT INTO users (name, role, scope, createdAt) VALUES (?, 'oem', '', '')`;
    await database.write((sql) => sql.run(insert, 'before'));
    let runs = 0;
    await database.write(async (sql) => {
      runs += 1;
      await sql.run(insert, 'within');
      if (runs > 1) return;
      await own.pause('SIGQUIT');
      void own.resume();
      await sql.run(insert, 'lost');
    });
    expect(runs).toBeGreaterThan(1);
    expect(await database.read((sql) => sql.all('SELECT name FROM users ORDER BY name'))).toEqual([
      { name: 'before' },
      { name: 'within' },
    ]);
    await database.stop();
  } finally {
    await own.close();
  }
});
