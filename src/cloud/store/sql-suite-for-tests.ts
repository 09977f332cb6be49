/** What every database of a cloud must do, whichever it is. */
import { describe, expect, test } from 'vitest';
import { InstanceStateStore } from './instance-states.ts';
import { ItemStore } from './items.ts';
import type { Sql, SqlDatabase } from './sql.ts';
import { SubjectStore } from './subjects.ts';

export interface DatabaseUnderTest {
  readonly database: SqlDatabase;
  close(): Promise<void>;
}

const addUser = (sql: Sql, name: string, role = 'oem') =>
  sql.run('INSERT INTO users (name, role, scope, createdAt) VALUES (?, ?, ?, ?)', name, role, '', '2026-01-01');

const names = async (sql: Sql) =>
  (await sql.all<{ name: string }>('SELECT name FROM users ORDER BY name')).map(({ name }) => name);

const addUnit = (sql: Sql, systemId: string) =>
  sql.run(
    `INSERT INTO units (systemId, status, modelName, modelVersion, nodes, secureData, registration, answer, provisionedAt)
     VALUES (?, 'provisioned', 'demo', '1.0', '[]', '{}', '', '{}', '2026-01-01')`,
    systemId,
  );

const addMessage = (sql: Sql, systemId: string, data: string | null) =>
  sql.run(
    `INSERT INTO messages (systemId, at, direction, outcome, data) VALUES (?, '2026-01-01', 'received', 'received', ?)`,
    systemId,
    data,
  );

/** Runs the promises of a `SqlDatabase` that has the tables of a cloud, each against an empty one. */
export function sqlSuite(name: string, open: () => Promise<DatabaseUnderTest>): void {
  const withDatabase = (body: (database: SqlDatabase) => Promise<void>) => async () => {
    const { database, close } = await open();
    try {
      await body(database);
    } finally {
      await close();
    }
  };

  describe(`a database of a cloud in ${name}`, () => {
    test(
      'carries the states of a user from one unit to another, over what was there',
      withDatabase(async (database) => {
        const states = (sql: Sql) => new InstanceStateStore(sql);
        const alice = { itemId: 'wallet', subjectId: 'alice', instance: 0 };
        await database.write(async (sql) => {
          for (const unit of ['from', 'to']) await addUnit(sql, unit);
          await states(sql).put('from', alice, 'new', new Date(1));
          await states(sql).put('from', { ...alice, subjectId: 'bob' }, 'his', new Date(1));
          await states(sql).put('to', alice, 'old', new Date(0));
          await states(sql).takeAlong('alice', 'from', 'to');
        });
        expect(await database.read((sql) => states(sql).list('to'))).toMatchObject([{ ...alice, state: 'new' }]);
      }),
    );

    test(
      'remembers which unit a user has left last, until it is at another; of a group nothing',
      withDatabase(async (database) => {
        const come = (type: 'user' | 'group', systemId: string) =>
          database.write((sql) => new SubjectStore(sql).assign({ ...subject, id: type, type }, systemId));
        const leave = (type: 'user' | 'group', systemId: string) =>
          database.write((sql) => new SubjectStore(sql).withdraw(type, systemId));
        const subject = { title: '', fleet: '', priority: 0, reported: false };
        await database.write(async (sql) => {
          for (const unit of ['a', 'b', 'c']) await addUnit(sql, unit);
          for (const type of ['user', 'group'] as const)
            await new SubjectStore(sql).put({ ...subject, id: type, type });
        });
        expect(await come('user', 'a')).toEqual({ left: [], from: undefined });
        expect([await leave('user', 'b'), await leave('user', 'a')]).toEqual([false, true]);
        expect(await come('user', 'b')).toEqual({ left: [], from: 'a' });
        expect(await come('user', 'b')).toEqual({ left: [], from: undefined });
        expect(await come('user', 'c')).toEqual({ left: ['b'], from: 'b' });
        await come('group', 'a');
        await leave('group', 'a');
        expect(await come('group', 'b')).toEqual({ left: [], from: undefined });
      }),
    );

    test(
      'tells what a service provider has: in its items, and uploaded for none yet',
      withDatabase(async (database) => {
        const items = (sql: Sql) => new ItemStore(sql);
        const none = new Uint8Array();
        const blob = { file: '', fileBytes: 0, fileSha3: '', key: none, iv: none, signature: none, chainName: '' };
        const add = (sql: Sql, digest: string, sizeBytes: number, provider: string) =>
          items(sql).addBlob({ ...blob, digest, sizeBytes, provider, file: `file ${digest}`, signedAt: '2026-01-02' });
        const item = {
          ...({ id: 'web', version: '1.0.0', type: 'service', title: '', owner: 'acme', indexDigest: '' } as const),
          ...({ publishedAt: '', defaults: {}, verification: 'valid', verificationReason: null } as const),
        };
        await database.write(async (sql) => {
          await add(sql, 'of its item', 1, 'other');
          await add(sql, 'uploaded', 2 ** 33, 'acme');
          await add(sql, 'of another', 4, 'other');
          await items(sql).add(item, ['of its item']);
        });
        const bytes = () =>
          database.read(async (sql) => [await items(sql).bytesOf('acme'), await items(sql).bytesOf('other')]);
        expect(await bytes()).toEqual([2 ** 33 + 1, 4]);
        const abandoned = (day: string) => database.write((sql) => items(sql).removeAbandoned('acme', new Date(day)));
        expect(await abandoned('2026-01-01')).toEqual([]);
        expect(await abandoned('2026-01-03')).toEqual(['file uploaded']);
        expect(await bytes()).toEqual([1, 4]);
        expect(await database.read((sql) => items(sql).leftoverFiles())).toEqual(['file uploaded']);
      }),
    );

    test(
      'gives rows back as they were written, under the names of the SQL',
      withDatabase(async (database) => {
        const blob = { digest: 'd', sizeBytes: 2 ** 40, fileBytes: 0, key: new Uint8Array([0, 255, 39]) };
        await database.write(async (sql) => {
          await sql.run(
            `INSERT INTO blobs (digest, sizeBytes, file, fileBytes, fileSha3, key, iv, signature, chainName, signedAt)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
            ...[blob.digest, blob.sizeBytes, 'f', blob.fileBytes, 'ä€😀', blob.key],
            ...[new Uint8Array(), new Uint8Array([1]), `'it''s?'`, 's'],
          );
          await addUnit(sql, 'u');
          await sql.run(
            `INSERT INTO samples (systemId, series, at, cpu, ram, download, upload, partitions) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
            ...['u', 'node:main', 1_780_000_000_000, 12.5, 5, 6, 7, '{}'],
          );
        });
        await database.read(async (sql) => {
          expect(await sql.get('SELECT * FROM blobs')).toEqual({
            ...blob,
            ...{ file: 'f', fileSha3: 'ä€😀', chainName: `'it''s?'`, signedAt: 's' },
            ...{ iv: new Uint8Array(), signature: new Uint8Array([1]), provider: '' },
          });
          expect(await sql.get('SELECT at, cpu, ram AS ramBytes FROM samples')).toEqual({
            ...{ at: 1_780_000_000_000, cpu: 12.5, ramBytes: 5 },
          });
          expect(await sql.get('SELECT lastSeen FROM units')).toEqual({ lastSeen: null });
          expect(await sql.get('SELECT 1 FROM units WHERE systemId = ?', 'another')).toBeUndefined();
        });
      }),
    );

    test(
      'counts with numbers',
      withDatabase(async (database) => {
        const counted = await database.write(async (sql) => {
          await addUnit(sql, 'u');
          for (const data of ['ä', null, 'bc']) await addMessage(sql, 'u', data);
          return sql.get(
            'SELECT COUNT(*) AS count, SUM(COALESCE(OCTET_LENGTH(data), 0)) AS total, EXISTS (SELECT 1 FROM units) AS known FROM messages',
          );
        });
        expect(counted).toEqual({ count: 3, total: 4, known: 1 });
      }),
    );

    test(
      'answers how many rows have changed',
      withDatabase(async (database) => {
        await database.write(async (sql) => {
          expect(await addUser(sql, 'a')).toBe(1);
          expect(await addUser(sql, 'b')).toBe(1);
          const again = `INSERT INTO users (name, role, scope, createdAt) VALUES (?, 'oem', '', '') ON CONFLICT DO NOTHING`;
          expect(await sql.run(again, 'a')).toBe(0);
          expect(await sql.run('UPDATE users SET role = ?', 'sp')).toBe(2);
          expect(await sql.run('DELETE FROM users WHERE name = ?', 'nobody')).toBe(0);
          expect(await sql.all('DELETE FROM users WHERE name = ? RETURNING name, role', 'b')).toEqual([
            { name: 'b', role: 'sp' },
          ]);
        });
      }),
    );

    test(
      'orders and compares texts by their bytes',
      withDatabase(async (database) => {
        const given = ['b', 'a-b', 'B', 'ab', 'a b', 'ä', '2026-01-02', '2026-01-01T00:00'];
        await database.write(async (sql) => {
          for (const name of given) await addUser(sql, name);
          expect(await names(sql)).toEqual(given.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
          expect(await sql.get('SELECT COUNT(*) AS count FROM users WHERE name < ?', 'a')).toEqual({ count: 3 });
        });
      }),
    );

    test(
      'orders rows as they came',
      withDatabase(async (database) => {
        await database.write(async (sql) => {
          await addUnit(sql, 'u');
          for (const hash of ['z', 'm', 'a']) {
            await sql.run('INSERT INTO tokens (hash, systemId, expiresAt) VALUES (?, ?, ?)', hash, 'u', 'equal');
          }
          expect(await sql.all('SELECT hash FROM tokens ORDER BY expiresAt DESC, rowid DESC')).toEqual([
            { hash: 'a' },
            { hash: 'm' },
            { hash: 'z' },
          ]);
        });
      }),
    );

    test(
      'undoes all of a transaction that throws, and tells its error',
      withDatabase(async (database) => {
        const failing = database.write(async (sql) => {
          await addUser(sql, 'a');
          throw new Error('the second half failed');
        });
        await expect(failing).rejects.toThrow('the second half failed');
        expect(await database.read(names)).toEqual([]);
      }),
    );

    test(
      'undoes all of a transaction one of whose statements is refused',
      withDatabase(async (database) => {
        const failing = database.write(async (sql) => {
          await addUser(sql, 'a');
          await addMessage(sql, 'a unit that nobody knows', null);
        });
        await expect(failing).rejects.toThrow(/foreign key/i);
        expect(await database.read(names)).toEqual([]);
      }),
    );

    test(
      'goes on after a refused statement within a savepoint',
      withDatabase(async (database) => {
        await database.write(async (sql) => {
          await addUser(sql, 'a');
          await sql.run('SAVEPOINT one');
          await addUser(sql, 'b');
          await expect(addMessage(sql, 'nobody', null)).rejects.toThrow();
          await sql.run('ROLLBACK TO SAVEPOINT one');
          await sql.run('RELEASE SAVEPOINT one');
          await addUser(sql, 'c');
        });
        expect(await database.read(names)).toEqual(['a', 'c']);
      }),
    );

    test(
      'removes what belonged to a unit with the unit',
      withDatabase(async (database) => {
        await database.write(async (sql) => {
          await addUnit(sql, 'u');
          await addMessage(sql, 'u', '{}');
          await sql.run('DELETE FROM units WHERE systemId = ?', 'u');
          expect(await sql.all('SELECT * FROM messages')).toEqual([]);
        });
      }),
    );

    test(
      'lets nobody write in a transaction that reads',
      withDatabase(async (database) => {
        await expect(database.read((sql) => addUser(sql, 'a'))).rejects.toThrow(/read/);
        expect(await database.read(names)).toEqual([]);
      }),
    );

    test(
      'refuses a statement that comes after its transaction',
      withDatabase(async (database) => {
        let late: Sql | undefined;
        await database.write(async (sql) => {
          late = sql;
        });
        await expect((async () => addUser(late!, 'a'))()).rejects.toThrow('the transaction is over');
        expect(await database.read(names)).toEqual([]);
      }),
    );

    test(
      'loses nothing of what many add to the same row at once',
      withDatabase(async (database) => {
        await database.write((sql) => addUser(sql, 'a', '0'));
        const raise = () =>
          database.write(async (sql) => {
            const row = await sql.get<{ role: string }>('SELECT role FROM users WHERE name = ?', 'a');
            await new Promise(setImmediate);
            await sql.run('UPDATE users SET role = ? WHERE name = ?', String(Number(row!.role) + 1), 'a');
          });
        await Promise.all(Array.from({ length: 20 }, raise));
        expect(await database.read((sql) => sql.get('SELECT role FROM users'))).toEqual({ role: '20' });
      }),
    );

    test(
      'keeps what was decided from a look: of two that each see no other, one sees the other',
      withDatabase(async (database) => {
        const addIfAlone = (name: string) =>
          database.write(async (sql) => {
            const isAlone = (await names(sql)).length === 0;
            await new Promise(setImmediate);
            if (isAlone) await addUser(sql, name);
          });
        await Promise.all(['a', 'b', 'c', 'd'].map(addIfAlone));
        expect(await database.read(names)).toHaveLength(1);
      }),
    );

    test(
      'shows one moment to a transaction that reads',
      withDatabase(async (database) => {
        await database.write((sql) => addUser(sql, 'a'));
        const written: Promise<unknown>[] = [];
        const seen = await database.read(async (sql) => {
          const before = await names(sql);
          written.push(database.write((other) => addUser(other, 'b')));
          await new Promise(setImmediate);
          return [before, await names(sql)];
        });
        expect(seen).toEqual([['a'], ['a']]);
        await Promise.all(written);
        expect(await database.read(names)).toEqual(['a', 'b']);
      }),
    );
  });
}
