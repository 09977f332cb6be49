import { execFileSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { chown, link, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AosError, type InstanceIdent, silentLogger } from '../../core/index.ts';
import type { UnitMessage } from '../../protocol/index.ts';
import { relativePath } from './directories.ts';
import { beginWrite, stateChecksumOf } from './state-file.ts';
import { STATE_TABLES, StateStore } from './state-store.ts';
import { StorageState, type StorageStateOptions } from './storage-state.ts';

const IDENT: InstanceIdent = {
  itemId: 'item',
  subjectId: 'subject',
  instance: 0,
  type: 'service',
  preinstalled: false,
};
const NAMES = { item: { id: 'item' }, subject: { id: 'subject' }, instance: 0 };
const REQUEST = { ident: IDENT, uid: 5000, gid: 5001, storageQuota: 4096, stateQuota: 1024 };

let directory: string;
let database: DatabaseSync;
let sent: UnitMessage[];
const open: StorageState[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), `aos-states-${randomUUID()}-`));
  database = new DatabaseSync(':memory:');
  database.exec(STATE_TABLES);
  sent = [];
});

afterEach(async () => {
  for (const one of open.splice(0)) await one.stop();
  database.close();
  await rm(directory, { recursive: true, force: true });
});

async function start(more: Partial<StorageStateOptions> = {}): Promise<StorageState> {
  const storage = new StorageState({
    store: new StateStore(database),
    storageDir: join(directory, 'storages'),
    stateDir: join(directory, 'states'),
    send: (message) => sent.push(message),
    diskQuota: { setLimit: async () => undefined },
    debounceMs: 20,
    logger: silentLogger,
    ...more,
  });
  open.push(storage);
  await storage.start();
  return storage;
}

const statePath = () => join(directory, 'states', 'item/subject/0/state.dat');
const kinds = () => sent.map(({ messageType }) => messageType);

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** As an instance does that cares: the new content appears as a whole. */
async function writeState(state: string): Promise<void> {
  await writeFile(`${statePath()}.tmp`, state);
  await rename(`${statePath()}.tmp`, statePath());
}

/** The cloud has accepted what the file holds. */
async function accepted(storage: StorageState, state: string): Promise<void> {
  await storage.update({ messageType: 'updateState', ...NAMES, stateChecksum: stateChecksumOf(state), state });
  sent.length = 0;
}

test('[CM-102] what an instance writes while it stops is reported, without waiting for the pause after a write', async () => {
  const storage = await start();
  await storage.prepare(REQUEST);
  await accepted(storage, 'before');
  await writeState('last words');
  await storage.release(REQUEST.ident);
  expect(sent).toMatchObject([{ messageType: 'newState', state: 'last words' }]);
  await writeState('of nobody');
  await storage.release(REQUEST.ident);
  expect(sent).toHaveLength(1);
});

describe('directories', () => {
  test('[CM-101] storage and state belong to the instance, the state file to it alone', async () => {
    const storage = await start();
    expect(await storage.prepare(REQUEST)).toEqual({
      storagePath: 'item/subject/0',
      statePath: 'item/subject/0/state.dat',
    });
    for (const path of [join(directory, 'storages/item/subject/0'), statePath()]) {
      const { uid, gid } = await stat(path);
      expect([uid, gid]).toEqual([5000, 5001]);
    }
    expect((await stat(statePath())).mode & 0o777).toBe(0o600);
  });

  test('[CM-101] content that an interrupted set-up left with another owner is given to the instance', async () => {
    const storage = await start();
    await storage.prepare(REQUEST);
    const file = join(directory, 'storages/item/subject/0/file');
    await writeFile(file, 'x');
    await chown(join(directory, 'storages/item/subject/0'), 0, 0);
    const again = await start();
    await again.prepare(REQUEST);
    expect((await stat(file)).uid).toBe(5000);
  });

  test('data of a limit that was dropped is not handed out and stays', async () => {
    const storage = await start();
    await storage.prepare(REQUEST);
    await writeFile(statePath(), 'precious');
    expect(await storage.prepare({ ...REQUEST, stateQuota: 0 })).toMatchObject({ statePath: '' });
    expect(await readFile(statePath(), 'utf8')).toBe('precious');
  });

  test('[CM-108] the data of an instance that is removed for good is gone, that of its neighbour is not', async () => {
    const storage = await start();
    await storage.prepare(REQUEST);
    await storage.prepare({ ...REQUEST, ident: { ...IDENT, instance: 1 } });
    await storage.remove(IDENT);
    expect(await readdir(join(directory, 'states/item/subject'))).toEqual(['1']);
    await storage.remove({ ...IDENT, instance: 1 });
    expect(await readdir(join(directory, 'states'))).toEqual([]);
  });

  test('[CM-101] [CM-108] links that an instance has put into its storage lead nobody out of it', async () => {
    const secret = join(directory, 'secret');
    await mkdir(secret);
    await writeFile(join(secret, 'file'), 'of the system');
    const before = await stat(join(secret, 'file'));
    const storage = await start();
    await storage.prepare(REQUEST);
    await symlink(secret, join(directory, 'storages/item/subject/0/way-out'));
    await storage.prepare({ ...REQUEST, uid: 5007 });
    expect(await stat(secret)).toMatchObject({ uid: before.uid, gid: before.gid });
    await storage.remove(IDENT);
    expect(await readdir(join(directory, 'storages'))).toEqual([]);
    const { uid, gid, mode } = await stat(join(secret, 'file'));
    expect([uid, gid, mode]).toEqual([before.uid, before.gid, before.mode]);
  });

  test('ids that would lead out of the directory are refused', () => {
    for (const itemId of ['..', 'a/b', '']) expect(() => relativePath({ ...IDENT, itemId })).toThrow('directory');
  });

  test('[CM-101] quotas are set for the uid; a file system without them stops nothing unless they are required', async () => {
    const limits: unknown[] = [];
    const first = await start({ diskQuota: { setLimit: async (_, uid, bytes) => void limits.push([uid, bytes]) } });
    await first.prepare(REQUEST);
    await first.prepare(REQUEST);
    expect(limits).toEqual([[5000, 5120]]);
    const fails = { setLimit: () => Promise.reject(new AosError('runtime', 'no quotas here')) };
    const other = { ...REQUEST, ident: { ...IDENT, instance: 1 } };
    const second = await start({ diskQuota: fails, quota: 'required' });
    await expect(second.prepare(other)).rejects.toThrow('no quotas here');
    const third = await start({ diskQuota: fails });
    await third.prepare(other);
  });
});

describe('states', () => {
  test('[CM-104] the state of a new instance is asked for', async () => {
    const storage = await start();
    await storage.prepare(REQUEST);
    expect(sent).toEqual([{ messageType: 'stateRequest', ...NAMES, default: false }]);
  });

  test('what a new instance has begun survives a cloud that knows no state yet, and is told to it', async () => {
    const storage = await start({ debounceMs: 60_000 });
    await storage.prepare(REQUEST);
    await writeState('begun');
    sent.length = 0;
    await storage.update({ messageType: 'updateState', ...NAMES, stateChecksum: stateChecksumOf(''), state: '' });
    expect(await readFile(statePath(), 'utf8')).toBe('begun');
    expect(sent).toEqual([
      { messageType: 'newState', ...NAMES, stateChecksum: stateChecksumOf('begun'), state: 'begun' },
    ]);
  });

  test('[CM-102] what an instance writes is reported when it comes to rest, with its checksum', async () => {
    const storage = await start();
    const told: string[] = [];
    storage.onChecksum((_, checksum) => told.push(checksum));
    await storage.prepare(REQUEST);
    await accepted(storage, 'old');
    await writeState('new');
    await until(() => sent.length > 0);
    expect(sent).toEqual([{ messageType: 'newState', ...NAMES, stateChecksum: stateChecksumOf('new'), state: 'new' }]);
    expect(storage.stateChecksum(IDENT)).toBe(stateChecksumOf('new'));
    expect(told.at(-1)).toBe(stateChecksumOf('new'));
  });

  test('[CM-103] accepted: known from then on; rejected: the valid one is asked for; another state: refused', async () => {
    const storage = await start();
    await storage.prepare(REQUEST);
    await accepted(storage, 'old');
    await writeState('new');
    await until(() => sent.length > 0);
    const verdict = { messageType: 'stateAcceptance', ...NAMES, reason: '' } as const;
    const checksum = stateChecksumOf('new');
    await expect(
      storage.accept({ ...verdict, checksum: stateChecksumOf('other'), result: 'accepted' }),
    ).rejects.toMatchObject({ code: 'invalidChecksum' });
    await storage.accept({ ...verdict, checksum, result: 'rejected' });
    expect(kinds()).toEqual(['newState', 'stateRequest']);
    await storage.accept({ ...verdict, checksum, result: 'accepted' });
    sent.length = 0;
    await storage.stop();
    await start();
    expect(sent).toEqual([]);
  });

  test('[CM-105] the state of the cloud is written into the same file, the former one kept beside it', async () => {
    const storage = await start();
    await storage.prepare(REQUEST);
    await writeFile(statePath(), 'a much longer state');
    const before = await stat(statePath());
    await accepted(storage, 'given');
    const after = await stat(statePath());
    expect(await readFile(statePath(), 'utf8')).toBe('given');
    expect([after.ino, after.uid, after.mode]).toEqual([before.ino, before.uid, before.mode]);
    expect((await readdir(join(statePath(), '..'))).sort()).toEqual(['state.dat', 'state.dat.prev']);
    expect(await readFile(`${statePath()}.prev`, 'utf8')).toBe('a much longer state');
  });

  test('[CM-105] a write that was interrupted is completed at the next start', async () => {
    const storage = await start();
    await storage.prepare(REQUEST);
    await accepted(storage, 'old');
    await storage.stop();
    await beginWrite(statePath(), 'given');
    const again = await start();
    expect(await readFile(statePath(), 'utf8')).toBe('given');
    expect(again.stateChecksum(IDENT)).toBe(stateChecksumOf('given'));
    expect(sent).toEqual([]);
  });

  test('[CM-104] [CM-105] what an instance wrote after a write was interrupted stays, and is told to the cloud', async () => {
    const storage = await start();
    await storage.prepare(REQUEST);
    await accepted(storage, 'old');
    await storage.stop();
    await beginWrite(statePath(), 'given');
    await writeFile(statePath(), 'meanwhile');
    const again = await start();
    expect(await readFile(statePath(), 'utf8')).toBe('meanwhile');
    expect(again.stateChecksum(IDENT)).toBe(stateChecksumOf('meanwhile'));
    expect(sent).toMatchObject([{ messageType: 'newState', state: 'meanwhile' }]);
    // The cloud takes it, and nothing is left to be completed.
    const verdict = { messageType: 'stateAcceptance', ...NAMES, result: 'accepted', reason: '' } as const;
    await again.accept({ ...verdict, checksum: stateChecksumOf('meanwhile') });
    await again.stop();
    await start();
    expect(sent).toHaveLength(1);
    expect(await readFile(statePath(), 'utf8')).toBe('meanwhile');
  });

  test('[CM-106] a state that is larger than its limit is neither taken nor reported', async () => {
    const told: string[] = [];
    const storage = await start({ onFault: (_, because) => told.push(because) });
    await storage.prepare(REQUEST);
    await accepted(storage, 'old');
    const state = 'x'.repeat(2000);
    await expect(
      storage.update({ messageType: 'updateState', ...NAMES, stateChecksum: stateChecksumOf(state), state }),
    ).rejects.toThrow('update state exceeds quota');
    await writeFile(statePath(), state);
    await until(() => told.length > 0);
    expect(told).toEqual(['the state has 2000 bytes, more than its limit of 1024']);
    expect(sent).toEqual([]);
    await writeState('small again');
    await until(() => sent.length > 0);
    expect(sent).toMatchObject([{ messageType: 'newState', state: 'small again' }]);
  });

  test('[CM-106] a state that grew beyond its limit while the CM was away is not reported, and its instance starts', async () => {
    const storage = await start();
    await storage.prepare(REQUEST);
    await accepted(storage, 'old');
    await storage.stop();
    await writeFile(statePath(), 'x'.repeat(2000));
    const told: string[] = [];
    const again = await start({ onFault: (_, because) => told.push(because) });
    await again.prepare(REQUEST);
    expect(told).toEqual(['the state has 2000 bytes, more than its limit of 1024']);
    expect(sent).toEqual([]);
    await writeState('small again');
    await until(() => sent.length > 0);
    expect(sent).toMatchObject([{ messageType: 'newState', state: 'small again' }]);
  });

  test('[CM-106] no quota makes a state larger than a message about it may be', async () => {
    const storage = await start();
    await storage.prepare({ ...REQUEST, stateQuota: 2 ** 20 });
    const state = 'x'.repeat(2 ** 16 + 1);
    await expect(
      storage.update({ messageType: 'updateState', ...NAMES, stateChecksum: stateChecksumOf(state), state }),
    ).rejects.toThrow('update state exceeds quota');
  });

  test.each<[string, string, () => Promise<unknown>]>([
    ['a link out of its directory', 'a symbolic link', () => symlink(join(directory, 'secret'), statePath())],
    ['a second name of a file', 'one of 2 names', () => link(join(directory, 'secret'), statePath())],
    ['a directory', 'a directory', () => mkdir(statePath())],
    ['a pipe', 'pipe', async () => execFileSync('mkfifo', [statePath()])],
  ])('a state that became %s is reported; nothing else is read, written or given away', async (_, why, make) => {
    const secret = join(directory, 'secret');
    await writeFile(secret, 'of the system', { mode: 0o600 });
    const logs: string[] = [];
    const logger = { ...silentLogger, error: (fields: { error?: string }) => logs.push(fields.error ?? '') };
    const told: string[] = [];
    const storage = await start({
      logger: logger as unknown as typeof silentLogger,
      onFault: (_, because) => told.push(because),
    });
    await storage.prepare(REQUEST);
    await accepted(storage, 'old');
    const before = await stat(secret);
    await rm(statePath());
    await make();
    await until(() => logs.some((line) => line.includes(why)));
    const state = 'of the cloud';
    const update = { messageType: 'updateState', ...NAMES, stateChecksum: stateChecksumOf(state), state } as const;
    await expect(storage.update(update)).rejects.toMatchObject({ code: 'wrongState' });
    await storage.release(IDENT);
    // Seen twice, and news once.
    expect(told).toEqual([expect.stringContaining(why)]);
    await expect(storage.prepare(REQUEST)).rejects.toThrow(why);
    expect(sent).toEqual([]);
    expect(await readFile(secret, 'utf8')).toBe('of the system');
    expect(await stat(secret)).toMatchObject({ uid: before.uid, gid: before.gid, mode: before.mode });

    await rm(statePath(), { recursive: true });
    await storage.prepare(REQUEST);
    expect(sent).toMatchObject([{ messageType: 'newState', state: '' }]);
  });

  test('a planted next state is not taken for one of the cloud', async () => {
    const storage = await start();
    await storage.prepare(REQUEST);
    await accepted(storage, 'old');
    await storage.stop();
    await writeFile(join(directory, 'secret'), 'of the system');
    await symlink(join(directory, 'secret'), `${statePath()}.next`);
    await start();
    expect(await readFile(statePath(), 'utf8')).toBe('old');
    expect(sent).toEqual([]);
  });

  test('[CM-102] a state that vanishes is made again with the next start of its instance, and told', async () => {
    const told: string[] = [];
    const storage = await start({ onFault: (_, because) => told.push(because) });
    await storage.prepare(REQUEST);
    await accepted(storage, 'old');
    await rm(statePath());
    await storage.release(IDENT);
    expect(told).toEqual([expect.stringMatching(/state\.dat is gone/)]);
    expect(sent).toEqual([]);
    await storage.prepare(REQUEST);
    expect(sent).toMatchObject([{ messageType: 'newState', state: '' }]);
  });

  test.each(['hex', 'base64'] as const)(
    '[CM-103] [CM-105] a cloud that knows states by SHA-256 in %s is understood',
    async (encoding) => {
      const sha256 = (state: string) => createHash('sha256').update(state).digest(encoding);
      const storage = await start();
      await storage.prepare(REQUEST);
      await storage.update({ messageType: 'updateState', ...NAMES, stateChecksum: sha256('given'), state: 'given' });
      expect(await readFile(statePath(), 'utf8')).toBe('given');
      expect(storage.stateChecksum(IDENT)).toBe(stateChecksumOf('given'));
      sent.length = 0;
      await writeState('new');
      await until(() => sent.length > 0);
      const verdict = { messageType: 'stateAcceptance', ...NAMES, result: 'accepted', reason: '' } as const;
      await expect(storage.accept({ ...verdict, checksum: sha256('other') })).rejects.toMatchObject({
        code: 'invalidChecksum',
      });
      await storage.accept({ ...verdict, checksum: sha256('new') });
      await storage.stop();
      sent.length = 0;
      await start();
      expect(sent).toEqual([]);
    },
  );

  test('a state that does not match its checksum is refused', async () => {
    const storage = await start();
    await storage.prepare(REQUEST);
    await expect(
      storage.update({ messageType: 'updateState', ...NAMES, stateChecksum: stateChecksumOf('a'), state: 'b' }),
    ).rejects.toMatchObject({ code: 'invalidChecksum' });
    await expect(
      storage.update({
        messageType: 'updateState',
        ...NAMES,
        instance: 7,
        stateChecksum: stateChecksumOf('a'),
        state: 'a',
      }),
    ).rejects.toMatchObject({ code: 'notFound' });
  });

  test('[CM-104] a change that was made while the CM was away is reported, not overwritten', async () => {
    const storage = await start();
    await storage.prepare(REQUEST);
    await accepted(storage, 'old');
    await storage.stop();
    await writeFile(statePath(), 'meanwhile');
    await start();
    expect(sent).toMatchObject([{ messageType: 'newState', state: 'meanwhile' }]);
  });

  test('an instance that does not run for now is not watched', async () => {
    const storage = await start();
    await storage.prepare(REQUEST);
    await accepted(storage, 'old');
    await storage.release(IDENT);
    expect(storage.stateChecksum(IDENT)).toBeUndefined();
    await storage.prepare(REQUEST);
    expect(storage.stateChecksum(IDENT)).toBe(stateChecksumOf('old'));
  });
});
