/** A small real file system, with the blobs and the database of the CM on it, that fills up. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isAosError } from '../../core/index.ts';
import type { ImageManager } from './image-manager.ts';
import { openImageDatabase, openTestImages } from './open-images-for-tests.ts';
import { Publisher } from './publisher-for-tests.ts';
import { type Disk, hostDisk } from './space.ts';

const MIB = 1024 * 1024;
const canMount = process.getuid?.() === 0 && spawnSync('losetup', ['--find']).status === 0;
const forever = new AbortController().signal;

let work: string;
let mounted: string;
let database: DatabaseSync;
let publisher: Publisher;
let images: ImageManager;
/** What the space keeper believes; the file system knows better. */
let disk: Disk;

beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'aos-cm-full-'));
  mounted = join(work, 'mounted');
  await mkdir(mounted);
  if (!canMount) return;
  const file = await open(join(work, 'disk'), 'w');
  await file.truncate(64 * MIB);
  await file.close();
  execFileSync('mkfs.ext4', ['-q', join(work, 'disk')]);
  execFileSync('mount', ['-o', 'loop', join(work, 'disk'), mounted]);
  database = await openImageDatabase(mounted);
  publisher = await Publisher.open();
  disk = hostDisk;
  images = await openTestImages(mounted, {
    ...{ database, source: publisher, trust: () => publisher.trust, updateItemTtlMs: 3_600_000 },
    disk: { freeBytes: (path) => disk.freeBytes(path), deviceOf: (path) => disk.deviceOf(path) },
  });
});

afterEach(async () => {
  if (canMount) {
    await images.stop();
    await publisher.close();
    database.close();
    spawnSync('umount', ['-l', mounted]);
  }
  await rm(work, { recursive: true, force: true });
});

const blind: Disk = { freeBytes: async () => 1e12, deviceOf: async () => 1 };
const item = (itemId: string, megabytes: number) =>
  publisher.publish(itemId, '1', { layers: [randomBytes(megabytes * MIB)] });
const blobs = () => readdirSync(join(mounted, 'install', 'blobs', 'sha256')).sort();
const partial = () => readdirSync(join(mounted, 'download', 'blobs', 'sha256'));
const states = () => images.items().map(({ itemId, state }) => `${itemId} ${state}`);
const fill = async (megabytes: number) => writeFile(join(mounted, 'ballast'), Buffer.alloc(megabytes * MIB));

test.skipIf(!canMount)(
  '[R-02] [CM-51] an item for which there is no room fails in words before anything is written, and comes with room',
  async () => {
    const [kept, large] = [item('kept', 2), item('large', 45)];
    await images.download([kept], publisher.trust, forever);
    await images.install([kept], () => true, forever);
    const before = blobs();
    await images.download([kept, large], publisher.trust, forever);
    expect(images.items().at(-1)).toMatchObject({
      state: 'failed',
      error: { aosCode: 3, message: 'not enough space' },
    });
    expect(states()[0]).toBe('kept installed');
    await images.download([kept], publisher.trust, forever);
    expect(blobs()).toEqual(before);
    expect(partial()).toEqual([]);

    const smaller = item('large', 12);
    await images.download([kept, smaller], publisher.trust, forever);
    expect(states()).toEqual(['kept installed', 'large pending']);
  },
  60_000,
);

test.skipIf(!canMount)(
  '[CM-51] an encrypted item takes the room of its content once, from the first byte to the last',
  async () => {
    const large = item('large', 12);
    const freeBytes = (await disk.freeBytes(mounted)) - 16 * MIB;
    // What is free beyond the reserve is more than once and less than twice as much.
    await fill(Math.floor(freeBytes / MIB) - 18);
    await images.download([large], publisher.trust, forever);
    expect(states()).toEqual(['large pending']);
  },
  60_000,
);

test.skipIf(!canMount).each([
  ['at the beginning of a download', 48],
  ['near its end', 42],
])(
  '[R-02] a disk that fills up %s fails the item, leaves the others and a clean store, and is no hindrance later',
  async (_, ballast) => {
    disk = blind;
    const [kept, large] = [item('kept', 1), item('large', 12)];
    await images.download([kept], publisher.trust, forever);
    await images.install([kept], () => true, forever);
    const before = blobs();
    await fill(ballast);
    await images.download([kept, large], publisher.trust, forever);
    expect(images.items().at(-1)).toMatchObject({
      itemId: 'large',
      state: 'failed',
      error: { aosCode: 3, message: expect.stringMatching(/^not enough space/) },
    });
    // A disk without any room is no place for half a blob.
    expect(partial()).toEqual([]);
    for (const name of blobs())
      expect(statSync(join(mounted, 'install', 'blobs', 'sha256', name)).size).toBeLessThan(2 * MIB);
    await images.download([kept], publisher.trust, forever);
    expect(blobs()).toEqual(before);

    await rm(join(mounted, 'ballast'));
    await images.download([kept, large], publisher.trust, forever);
    expect(states()).toEqual(['kept installed', 'large pending']);
    expect(partial()).toEqual([]);
  },
  60_000,
);

test.skipIf(!canMount)(
  '[R-02] a disk that takes no row ends the call with its reason and changes nothing',
  async () => {
    disk = blind;
    const kept = item('kept', 1);
    await images.download([kept], publisher.trust, forever);
    await images.install([kept], () => true, forever);
    spawnSync('dd', ['if=/dev/zero', `of=${join(mounted, 'ballast')}`, 'bs=64k']);
    spawnSync('dd', ['if=/dev/zero', `of=${join(mounted, 'ballast2')}`, 'bs=1k']);
    // Rows enough for a page that the write-ahead log does not have yet.
    const many = Array.from({ length: 400 }, (_, index) => ({ ...kept, itemId: `more ${index} ${'x'.repeat(50)}` }));
    await expect(images.download([kept, ...many], publisher.trust, forever)).rejects.toSatisfy((error) =>
      isAosError(error, 'noMemory'),
    );
    expect(states()).toEqual(['kept installed']);
    for (const name of ['ballast', 'ballast2']) await rm(join(mounted, name));
    await images.download([kept, many[0]!], publisher.trust, forever);
    expect(images.items().map(({ state }) => state)).toEqual(['installed', 'pending']);
  },
  60_000,
);
