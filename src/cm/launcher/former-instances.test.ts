import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { AosError, type InstanceIdent } from '../../core/index.ts';
import { LAUNCHER } from '../numbers.ts';
import { STATE_TABLES } from '../storage-state/index.ts';
import { withFormer } from './former-for-tests.ts';
import { InstanceStore, LAUNCHER_TABLES } from './instance-store.ts';
import { testRow } from './row-for-tests.ts';
import { request, TestUnit, until } from './unit-for-tests.ts';

const LONG_MS = 86_400_000;

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-former-'));
  const database = new DatabaseSync(join(directory, 'test.db'));
  database.exec(LAUNCHER_TABLES + STATE_TABLES);
  database.close();
});

afterEach(() => rm(directory, { recursive: true, force: true }));

const ident = (itemId: string): InstanceIdent => testRow(itemId).ident;

/** Former instances, each with a storage and a state. */
async function leave(...itemIds: readonly string[]): Promise<void> {
  await withFormer(directory, LONG_MS, async ({ store, storage }) => {
    const rows = itemIds.map((itemId, index) =>
      testRow(itemId, { state: 'cached', uid: 5000 + index, stampedAtMs: Date.now() - 1000 + index }),
    );
    for (const { ident, uid, gid } of rows) {
      await storage.prepare({ ident, uid, gid, storageQuota: 4096, stateQuota: 1024 });
      await writeFile(join(directory, 'storages', ident.itemId, 'subject', '0', 'file'), 'x');
    }
    store.save({ requests: [], rows });
  });
}

/** What there is of instances: rows of both tables, and directories of both kinds. */
async function found() {
  return withFormer(directory, LONG_MS, async ({ store, storage }) => ({
    rows: store.rows.map(({ ident }) => ident.itemId),
    owners: storage.owners().map(({ ident }) => ident.itemId),
    storages: await readdir(join(directory, 'storages')),
    states: await readdir(join(directory, 'states')),
  }));
}

const NOTHING = { rows: [], owners: [], storages: [], states: [] };

test.each([
  'storage-state.directory-removed',
  'storage-state.directory-removed#2',
  'storage-state.remove.before-commit',
  'storage-state.remove.committed',
  'storage-state.directory-removed#3',
  'launcher.save.before-commit',
  'launcher.save.committed',
])(
  '[R-01] [CM-79] [CM-108] a CM that dies at %s leaves nothing of former instances that its next start does not remove',
  async (fault) => {
    await leave('a', 'b');
    const script = join(import.meta.dirname, 'former-crash-for-tests.ts');
    const { signal } = spawnSync(process.execPath, [script, directory], { env: { ...process.env, AOS_FAULT: fault } });
    expect(signal).toBe('SIGKILL');
    const { rows, storages, states } = await found();
    // The row is the last to go: whoever has data is known.
    expect(rows).toEqual(expect.arrayContaining([...new Set([...storages, ...states])]));
    await withFormer(directory, 0, ({ former }) => former.removeExpired());
    expect(await found()).toEqual(NOTHING);
  },
);

test('[CM-79] data that cannot be removed keeps its instance known, stops no other, and goes when it can', async () => {
  await leave('stuck', 'b');
  const remove = async ({ itemId }: InstanceIdent) => {
    if (itemId === 'stuck') throw new AosError('runtime', 'device or resource busy');
  };
  await withFormer(directory, 0, ({ former }) => former.removeExpired(), { remove });
  expect((await found()).rows).toEqual(['stuck']);
  await withFormer(directory, 0, ({ former }) => former.removeExpired());
  expect((await found()).rows).toEqual([]);
});

test('[CM-79] an instance whose name cannot be that of a directory has no data, and is forgotten like any other', async () => {
  await withFormer(directory, 0, async ({ store, former }) => {
    store.save({ requests: [], rows: [testRow('a/../../b', { state: 'cached', stampedAtMs: Date.now() - 1000 })] });
    await former.removeExpired();
    expect(store.rows).toEqual([]);
  });
});

test('[CM-78] [CM-79] data without an instance becomes that of a former one: its user id is not given to another, and it goes in time', async () => {
  // As a CM leaves it that dies between the set-up of an instance and the storing of it.
  await withFormer(directory, LONG_MS, ({ storage }) =>
    storage.prepare({ ident: ident('a'), uid: 5003, gid: 5004, storageQuota: 4096, stateQuota: 0 }),
  );
  await withFormer(directory, LONG_MS, async ({ store, former }) => {
    await former.removeExpired();
    await former.removeExpired();
    expect(store.rows).toMatchObject([{ ident: ident('a'), uid: 5003, gid: 5004, state: 'cached' }]);
  });
  expect(existsSync(join(directory, 'storages', 'a'))).toBe(true);
  await withFormer(directory, 0, ({ former }) => former.removeExpired());
  expect(await found()).toEqual(NOTHING);
});

test('[CM-79] a former instance that was stamped by a clock that lied begins to count anew', async () => {
  await withFormer(directory, LONG_MS, async ({ store, former }) => {
    store.save({ requests: [], rows: [testRow('a', { state: 'cached', stampedAtMs: 1000 })] });
    await former.removeExpired();
    expect(store.rows[0]!.stampedAtMs).toBeGreaterThan(Date.now() - LONG_MS);
  });
  expect((await found()).rows).toEqual(['a']);
});

test('[CM-78] [CM-79] when every user id is given out a new instance gets that of the oldest former one, whose data goes first', async () => {
  const unit = await TestUnit.create();
  try {
    await unit.shutDown();
    const rows = Array.from({ length: LAUNCHER.maxInstances }, (_, index) => {
      const id = LAUNCHER.firstId + index;
      return testRow(`former-${index}`, { state: 'cached', uid: id, gid: id, stampedAtMs: Date.now() - 1000 - index });
    });
    new InstanceStore(unit.database).save({ requests: [], rows });
    const storages = join(unit.directory, 'storages');
    for (const itemId of ['former-0', 'former-4999']) {
      await mkdir(join(storages, itemId, 'subject', '0'), { recursive: true });
    }
    await unit.boot();
    unit.addItem({ itemId: 'a', version: '1.0.0' });
    const sm = unit.connect('main');
    await unit.launch(request('a', '1.0.0'));
    await until(() => unit.summary().join() === 'a/0 1.0.0 main active');
    expect([...sm.running.values()].map(({ uid }) => uid)).toEqual([LAUNCHER.lastId]);
    expect(await readdir(storages)).toEqual(['former-0']);
  } finally {
    await unit.close();
  }
});
