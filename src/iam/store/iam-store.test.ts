import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { IAM_MIGRATIONS, IamStore } from './iam-store.ts';
import { readFormerNodes } from './read-former-nodes.ts';

let directory: string;
const at = (name: string) => join(directory, name);
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'iam-store-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** A database as the C++ program leaves it. */
function writeFormer(...infos: string[]): void {
  const database = new DatabaseSync(at('iamanager.db'));
  database.exec('CREATE TABLE nodeinfo (id TEXT NOT NULL PRIMARY KEY, info TEXT)');
  for (const info of infos) {
    database.prepare('INSERT INTO nodeinfo VALUES (?, ?)').run(JSON.parse(info).identity.codename, info);
  }
  database.close();
}

const row = (codename: string, state = 'provisioned') => JSON.stringify({ identity: { codename, title: 't' }, state });
const open = () => IamStore.open(at('aos-iam.db'), silentLogger);

test('[IAM-39] nodes of the C++ program are taken over once, its database is left alone', async () => {
  writeFormer(row('a'), row('b', 'paused'));
  let store = await open();
  store.importNodes(() => readFormerNodes(at('iamanager.db'), silentLogger));
  expect(store.nodes().map(({ nodeId, state }) => `${nodeId} ${state}`)).toEqual(['a provisioned', 'b paused']);
  store.removeNode('a');
  store.stop();
  store = await open();
  store.importNodes(() => readFormerNodes(at('iamanager.db'), silentLogger));
  expect(store.nodes().map(({ nodeId }) => nodeId)).toEqual(['b']);
  store.stop();
  const former = new DatabaseSync(at('iamanager.db'), { readOnly: true });
  expect(former.prepare('SELECT count(*) AS n FROM nodeinfo').get()).toEqual({ n: 2 });
  former.close();
});

test('[IAM-39] a former database that cannot be read hinders nothing', async () => {
  await writeFile(at('iamanager.db'), 'this is no database, and it is long enough to be taken for one at first sight');
  expect(readFormerNodes(at('iamanager.db'), silentLogger)).toEqual([]);
  expect(readFormerNodes(at('none.db'), silentLogger)).toEqual([]);
});

test('[IAM-39] a database of a newer program is refused, in words', async () => {
  (await open()).stop();
  const database = new DatabaseSync(at('aos-iam.db'));
  database.exec('PRAGMA user_version = 99');
  database.close();
  await expect(open()).rejects.toMatchObject({ code: 'notSupported', message: expect.stringMatching(/version 99/) });
});

test('[IAM-39] a damaged database is set aside and begun anew', async () => {
  const store = await open();
  store.addPendingKey({ type: 'iam', keyId: Buffer.from('01', 'hex'), createdAtMs: 0 });
  store.stop();
  await rm(at('aos-iam.db-wal'), { force: true });
  await writeFile(at('aos-iam.db'), 'damaged '.repeat(1000));
  const again = await open();
  expect(again.pendingKeys('iam')).toEqual([]);
  again.stop();
});

test('[IAM-39] certificates of a former version of the database are still there', async () => {
  const former = new DatabaseSync(at('aos-iam.db'));
  former.exec(`${IAM_MIGRATIONS[0]}; PRAGMA user_version = 1;
    INSERT INTO certificates VALUES ('iam', x'01', x'02', 'cert', 'key', 3, x'04')`);
  former.close();
  const store = await open();
  const certificate = {
    ...{ type: 'iam', issuer: Buffer.from([1]), serial: Buffer.from([2]), keyId: Buffer.from([4]) },
    ...{ certUrl: 'cert', keyUrl: 'key', notAfterMs: 3 },
  };
  expect(store.certificates()).toEqual([certificate]);
  const other = { ...certificate, type: 'online' };
  store.changeCertificates([certificate], [other]);
  expect(store.certificates()).toEqual([other]);
  store.stop();
});

test('a stored node that cannot be read is left out', async () => {
  const store = await open();
  store.stop();
  const database = new DatabaseSync(at('aos-iam.db'));
  database.exec(`INSERT INTO nodes VALUES ('x', 'nonsense')`);
  database.close();
  const again = await open();
  expect(again.nodes()).toEqual([]);
  again.stop();
});
