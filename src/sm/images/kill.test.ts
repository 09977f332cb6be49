/** The process is killed at each fault point of an install and of a clean-up; what is found then is old or new. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { findLayerDamage } from '../../platform/archive/index.ts';
import { HostMounts } from '../../platform/mount/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { ImageStore } from './image-store.ts';
import { BlobSource, type Entry } from './images-for-tests.ts';
import type { Settings } from './install-for-tests.ts';
import { IMAGE_TABLES } from './item-records.ts';
import type { WantedItem } from './read-item.ts';

const PROGRAM = fileURLToPath(new URL('./install-for-tests.ts', import.meta.url));
const isRoot = process.getuid?.() === 0;
const signal = new AbortController().signal;

/** Of an install of two layers with every kind of mark. */
const INSTALL_POINTS = [
  'sm.images.downloaded',
  'sm.images.downloaded#4',
  'storage.blob.written',
  'storage.blob.renamed#2',
  'platform.mount.white-out',
  'platform.mount.opaque',
  'platform.mount.opaque-mounted',
  'sm.images.layer.unpacked',
  'sm.images.layer.unpacked#2',
  'platform.mount.sync',
  'sm.images.layer.complete.written',
  'sm.images.layer.complete.renamed',
  'sm.images.layer.remove',
  'sm.images.record.before-commit',
  'sm.images.record.committed',
];
/** Of the removal of another item before it. */
const REMOVE_POINTS = [
  'sm.images.remove.before-commit',
  'sm.images.remove.committed',
  'sm.images.delete.before-commit',
  'sm.images.delete.committed',
  'sm.images.orphan',
  'sm.images.orphan#2',
  'sm.images.layer.remove',
];

const layers: Entry[][] = [
  [
    { name: 'app', content: 'application' },
    { name: 'sub/.wh.gone' },
    { name: 'dir/.wh..wh..opq' },
    { name: 'dir/new' },
  ],
  [{ name: 'lib', content: Buffer.alloc(300_000, 5) }],
];

let work: string;
let source: BlobSource;
let wanted: WantedItem;

beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'aos-kill-'));
  source = await BlobSource.create();
  wanted = await source.service('item', '1.0.0', { layers });
});
afterEach(async () => {
  const mounts = new HostMounts();
  await mounts.unmountAll(
    (await mounts.listBelow(work)).map(({ target }) => target),
    signal,
  );
  await source.close();
  await rm(work, { recursive: true, force: true });
});

async function withStore<T>(work2: (store: ImageStore) => Promise<T>): Promise<T> {
  const database = await openDatabase(join(work, 'sm.db'), [IMAGE_TABLES], silentLogger);
  const { blobUrls } = source;
  const store = await ImageStore.open({
    imagePath: join(work, 'images'),
    database,
    blobUrls,
    logger: silentLogger,
    itemTtlMs: -1,
  });
  try {
    return await work2(store);
  } finally {
    await store.stop();
    database.close();
  }
}

function killAt(point: string, settings: Partial<Settings> = {}): void {
  const all: Settings = {
    imagePath: join(work, 'images'),
    databasePath: join(work, 'sm.db'),
    blobDir: source.directory,
    install: wanted,
    ...settings,
  };
  const ended = spawnSync(process.execPath, [PROGRAM, JSON.stringify(all)], {
    env: { ...process.env, AOS_FAULT: point },
    encoding: 'utf8',
  });
  expect(ended.signal, `${point} was never passed: ${ended.stderr}`).toBe('SIGKILL');
}

/** Every blob and layer that can be seen is whole. */
async function expectWhole(): Promise<void> {
  const blobDir = join(work, 'images/blobs/sha256');
  for (const name of readdirSync(blobDir).filter((found) => !found.startsWith('.'))) {
    expect(
      createHash('sha256')
        .update(readFileSync(join(blobDir, name)))
        .digest('hex'),
    ).toBe(name);
  }
  const layerDir = join(work, 'images/layers/sha256');
  for (const name of readdirSync(layerDir)) {
    const directory = join(layerDir, name);
    if (!existsSync(join(directory, 'layer.json'))) continue;
    const check = { signal, pace: async () => undefined };
    expect(await findLayerDamage(join(directory, 'layer'), join(directory, 'list'), check)).toBeUndefined();
  }
}

// Each starts a process of its own, which takes its time on a busy machine.
// Overlay marks of layers are made as root; ./dev test runs as root.
describe.skipIf(!isRoot)('killed', { timeout: 60_000 }, () => {
  test.each(INSTALL_POINTS)(
    '[R-01] at %s of an install, the item is there whole or not at all, and the next install completes it',
    async (point) => {
      killAt(point);
      await expectWhole();
      await withStore(async (store) => {
        const item = await store.install(wanted, signal);
        expect(readFileSync(join(item.layers[0]!, 'app'), 'utf8')).toBe('application');
        await store.cleanUp(signal);
        expect(store.installed()).toHaveLength(1);
      });
      await expectWhole();
      expect(readdirSync(join(work, 'images/layers/sha256'))).toHaveLength(2);
      expect(readdirSync(join(work, 'images/blobs/sha256'))).toHaveLength(3);
      expect(readdirSync(join(work, 'images/downloads'))).toEqual([]);
      for (const name of readdirSync(join(work, 'images/layers/sha256'))) {
        const kept = readdirSync(join(work, 'images/layers/sha256', name)).filter((found) => found !== 'floor');
        expect(kept.sort()).toEqual(['layer', 'layer.json', 'list']);
      }
      expect(await new HostMounts().listBelow(work)).toEqual([]);
    },
  );

  test.each(REMOVE_POINTS)(
    '[R-01] at %s of a removal, the other item is untouched, and the removal is completed',
    async (point) => {
      const old = await source.service('old', '1.0.0', { layers: [[{ name: 'old' }], layers[1]!] });
      await withStore((store) => store.install(old, signal));
      killAt(point, { remove: old });
      await expectWhole();
      await withStore(async (store) => {
        if (store.installed().some(({ itemId }) => itemId === 'old')) store.remove('old', '1.0.0');
        await store.install(wanted, signal);
        await store.cleanUp(signal);
        expect(store.installed().map(({ itemId }) => itemId)).toEqual(['item']);
      });
      await expectWhole();
      expect(readdirSync(join(work, 'images/layers/sha256'))).toHaveLength(2);
      expect(readdirSync(join(work, 'images/blobs/sha256'))).toHaveLength(3);
    },
  );
});
