import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { digestOf, silentLogger } from '../../core/index.ts';
import { InstanceStore } from '../launcher/index.ts';
import { NetworkStore } from '../networks/index.ts';
import { StateStore } from '../storage-state/index.ts';
import { DATABASE_FILE, openCmStore } from '../store.ts';
import { UpdateStore } from '../updates/index.ts';

const IDENT = `itemID TEXT, subjectID TEXT, instance INTEGER, type TEXT, preinstalled INTEGER`;
const ident = { itemId: 'web', subjectId: 'anna', instance: 0, type: 'service', preinstalled: false };
const DESIRED = {
  items: [{ item: { id: 'web', type: 'service' }, version: '1', owner: { id: 'o' }, indexDigest: digestOf('index') }],
  instances: [{ item: { id: 'web' }, subject: { id: 'anna' }, priority: 1, numInstances: 1, labels: [] }],
  subjects: [{ identity: { id: 'anna' }, type: 'user', isReportedFromUnit: true }],
};

let directory: string;
const opened: DatabaseSync[] = [];

/** A database as the C++ implementation leaves it. */
function writeTwin(): void {
  const twin = new DatabaseSync(join(directory, 'cm.db'));
  twin.exec(`
    CREATE TABLE updatemanager (desiredStatus TEXT, updateState TEXT);
    CREATE TABLE storagestate (${IDENT}, storageQuota INTEGER, stateQuota INTEGER, stateChecksum BLOB);
    CREATE TABLE networks (networkID TEXT, subnet TEXT, vlanID INTEGER);
    CREATE TABLE hosts (networkID TEXT, nodeID TEXT, ip TEXT);
    CREATE TABLE networkmanager_instances (${IDENT}, networkID TEXT, nodeID TEXT, ip TEXT, exposedPorts TEXT, dnsServers TEXT);
    CREATE TABLE launcher_instances (${IDENT}, manifestDigest TEXT, nodeID TEXT, prevNodeID TEXT, runtimeID TEXT,
      uid INTEGER, gid INTEGER, timestamp INTEGER, state TEXT, isUnitSubject INTEGER, version TEXT, ownerID TEXT,
      subjectType TEXT, labels TEXT, priority INTEGER, disableRebalancing INTEGER);
    CREATE TABLE launcher_run_requests (itemID TEXT, type TEXT, version TEXT, ownerID TEXT, subjectID TEXT,
      subjectType TEXT, isUnitSubject INTEGER, priority INTEGER, numInstances INTEGER, labels TEXT);
    CREATE TABLE launcher_override_envvars (itemID TEXT, subjectID TEXT, instance TEXT, variables TEXT);
    INSERT INTO storagestate VALUES ('web', 'anna', 0, 'service', 0, 1000, 500, x'abcdef');
    INSERT INTO networks VALUES ('o', '172.17.0.0/16', 77);
    INSERT INTO hosts VALUES ('o', 'main', '172.17.0.1');
    INSERT INTO networkmanager_instances VALUES ('web', 'anna', 0, 'service', 0, 'o', 'main', '172.17.0.5',
      '[{"protocol":"tcp","port":"80"}]', '["10.0.0.100"]');
    INSERT INTO launcher_instances VALUES ('web', 'anna', 0, 'service', 0, '${digestOf('m')}', 'main', '', 'r1',
      5003, 5001, 1700000000000000000, 'active', 1, '1', 'o', 'user', '["front"]', 7, 0);
    INSERT INTO launcher_run_requests VALUES ('web', 'service', '1', 'o', 'anna', 'user', 1, 7, 1, '["front"]');
    INSERT INTO launcher_override_envvars VALUES ('web', '', '', '[{"name":"A","value":"1"}]');
  `);
  twin.prepare('INSERT INTO updatemanager VALUES (?, ?)').run(JSON.stringify(DESIRED), 'none');
  twin.close();
}

async function openStore(): Promise<DatabaseSync> {
  const database = await openCmStore(directory, silentLogger);
  opened.push(database);
  return database;
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-take-over-'));
});

afterEach(async () => {
  for (const database of opened.splice(0)) database.close();
  await rm(directory, { recursive: true, force: true });
});

test('users, nodes, addresses, states and the desired status of a former C++ node are taken over', async () => {
  writeTwin();
  const database = await openStore();
  const launcher = new InstanceStore(database);
  expect(launcher.rows).toMatchObject([
    {
      ident,
      version: '1',
      uid: 5003,
      gid: 5001,
      nodeId: 'main',
      runtimeId: 'r1',
      state: 'active',
      isUnitSubject: true,
      labels: ['front'],
      storagePath: 'web/anna/0',
      statePath: 'web/anna/0/state.dat',
      stampedAtMs: 1_700_000_000_000,
    },
  ]);
  expect(launcher.requests).toMatchObject([{ itemId: 'web', subject: { id: 'anna', type: 'user' }, numInstances: 1 }]);
  expect(launcher.overrides).toEqual([{ filter: { itemId: 'web' }, variables: [{ name: 'A', value: '1' }] }]);
  expect(new StateStore(database).all()).toMatchObject([{ ident, stateQuota: 500, checksum: 'abcdef', uid: 5003 }]);
  const networks = new NetworkStore(database).load();
  expect([...networks.networks.values()]).toEqual([{ networkId: 'o', subnet: '172.17.0.0/16', vlanId: 77 }]);
  expect([...networks.instances.values()]).toMatchObject([{ ident, ip: '172.17.0.5', exposedPorts: ['80/tcp'] }]);
  expect(new UpdateStore(database).load(silentLogger)).toMatchObject({
    state: 'downloading',
    desired: { items: [{ version: '1' }], subjects: [{ isReportedFromUnit: true }] },
  });
});

test('the old database stays byte for byte, and is read once only', async () => {
  writeTwin();
  const before = await readFile(join(directory, 'cm.db'));
  const database = await openStore();
  expect(await readFile(join(directory, 'cm.db'))).toEqual(before);
  expect(existsSync(join(directory, `${DATABASE_FILE}.taking-over`))).toBe(false);
  new UpdateStore(database).enter('none', 1);
  expect(new UpdateStore(await openStore()).load(silentLogger)).toMatchObject({ state: 'none' });
});

test('what cannot be read costs that part alone, a file that is no database all of it, and neither the start', async () => {
  writeTwin();
  const twin = new DatabaseSync(join(directory, 'cm.db'));
  twin.exec(`DROP TABLE networks; UPDATE updatemanager SET desiredStatus = 'broken'`);
  twin.close();
  const database = await openStore();
  expect(new InstanceStore(database).rows).toHaveLength(1);
  expect(new UpdateStore(database).load(silentLogger)).toMatchObject({ state: 'none' });

  const other = await mkdtemp(join(tmpdir(), 'aos-take-over-'));
  try {
    await writeFile(join(other, 'cm.db'), 'this is no database, and long enough to look like a file of one');
    const empty = await openCmStore(other, silentLogger);
    expect(new InstanceStore(empty).rows).toEqual([]);
    empty.close();
  } finally {
    await rm(other, { recursive: true, force: true });
  }
});
