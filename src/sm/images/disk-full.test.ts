/** A small real file system that fills up. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { isAosError, silentLogger } from '../../core/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { ImageStore } from './image-store.ts';
import { BlobSource } from './images-for-tests.ts';
import { IMAGE_TABLES } from './item-records.ts';

const MIB = 1024 * 1024;
const canMount = process.getuid?.() === 0 && spawnSync('losetup', ['--find']).status === 0;
const signal = new AbortController().signal;

test.skipIf(!canMount)(
  '[R-02] [SM-09] a full disk ends an install in words; nothing of it stays, and with space it succeeds',
  async () => {
    const work = await mkdtemp(join(tmpdir(), 'aos-full-'));
    const disk = join(work, 'disk');
    const mounted = join(work, 'mounted');
    const source = await BlobSource.create();
    const database = await openDatabase(join(work, 'sm.db'), [IMAGE_TABLES], silentLogger);
    try {
      const file = await open(disk, 'w');
      await file.truncate(64 * MIB);
      await file.close();
      execFileSync('mkfs.ext4', ['-q', disk]);
      await mkdir(mounted);
      execFileSync('mount', ['-o', 'loop', disk, mounted]);
      const imagePath = join(mounted, 'images');
      const { blobUrls } = source;
      const store = await ImageStore.open({ imagePath, database, blobUrls, logger: silentLogger });
      const noise = (name: string, size: number) => [{ name, content: randomBytes(size) }];
      const kept = await store.install(await source.service('kept', '1', { layers: [noise('kept', 2 * MIB)] }), signal);
      const old = await source.service('old', '1', { layers: [noise('old', 12 * MIB)] });
      await store.install(old, signal);

      // Honest about its size: refused before anything is written.
      const large = await source.service('large', '1', { layers: [noise('large', 14 * MIB)] });
      const refused = (error: unknown) => isAosError(error, 'noMemory') && /cannot install .* 1: /.test(error.message);
      await expect(store.install(large, signal)).rejects.toSatisfy(refused);

      // Many small files need more than their sizes: the disk itself refuses.
      await writeFile(join(mounted, 'ballast'), Buffer.alloc(18 * MIB));
      const crowd = Array.from({ length: 20_000 }, (_, index) => ({ name: `f${index}`, content: 'x' }));
      const wide = await source.service('wide', '1', { layers: [crowd] });
      await expect(store.install(wide, signal)).rejects.toSatisfy(refused);
      expect(readdirSync(join(imagePath, 'layers/sha256'))).toHaveLength(2);

      // The item that nobody needs any more makes room.
      await rm(join(mounted, 'ballast'));
      store.remove('old', '1');
      const item = await store.install(large, signal);
      expect(readdirSync(item.layers[0]!)).toEqual(['large']);
      expect(readdirSync(kept.layers[0]!)).toEqual(['kept']);
      expect(
        store
          .installed()
          .map(({ itemId }) => itemId)
          .sort(),
      ).toEqual(['kept', 'large']);
      await store.cleanUp(signal);
      expect(readdirSync(join(imagePath, 'layers/sha256'))).toHaveLength(2);
      await store.stop();
    } finally {
      spawnSync('umount', ['-l', mounted]);
      database.close();
      await source.close();
      await rm(work, { recursive: true, force: true });
    }
  },
  60_000,
);
