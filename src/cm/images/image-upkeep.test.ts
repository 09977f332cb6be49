/** Damage, room on the disk, networks that break: what happens to images beside what is wanted of them. */
import { randomBytes } from 'node:crypto';
import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { AosError, silentLogger } from '../../core/index.ts';
import { CloudBlobSource } from './blob-source.ts';
import { downloadAlert } from './download-alert.ts';
import type { ImageManager } from './image-manager.ts';
import {
  blobFile,
  clock,
  database,
  disk,
  forever,
  GIB,
  notUsed,
  open,
  partialFiles,
  publisher,
  reports,
  storedBlobs,
  trust,
} from './image-stage-for-tests.ts';

let images: ImageManager;

beforeEach(async () => {
  images = await open();
});

describe('a network that breaks', () => {
  test('[CM-41] [CM-22] a download goes on where it stopped, also after a restart', async () => {
    const item = publisher.publish('web', '1', { layers: [randomBytes(600_000)] });
    const layer = item.layers[0]!;
    const hex = layer.slice(7);
    const end = new AbortController();
    publisher.trouble.set(layer, (response, file) => {
      response.writeHead(200, { 'accept-ranges': 'bytes', etag: `"${hex}"`, 'content-length': file.length });
      response.write(file.subarray(0, 300_000));
      return true;
    });
    // Every piece is worth a report when half a minute lies between them.
    let nowMs = 0;
    clock.monotonicMs = () => {
      nowMs += 31_000;
      return nowMs;
    };
    const running = images.download([item], trust, end.signal);
    await vi.waitFor(() => expect(reports.at(-1)?.downloadedBytes).toBe(300_000), 10_000);
    end.abort();
    await expect(running).rejects.toMatchObject({ code: 'canceled' });
    expect(images.items()).toMatchObject([{ state: 'downloading' }]);

    publisher.trouble.clear();
    publisher.requests.length = 0;
    images = await open();
    await images.download([item], trust, forever);
    expect(publisher.requests).toContain(`GET ${hex} bytes=300000-`);
    expect(images.items()).toMatchObject([{ state: 'pending' }]);
    expect(await partialFiles()).toEqual([]);
  });

  test('[CM-42] it is tried again with growing pauses for as long as it takes', async () => {
    const item = publisher.publish('web', '1');
    let refusals = 9;
    publisher.trouble.set(item.layers[0]!, (response) => {
      refusals -= 1;
      if (refusals < 0) return false;
      response.writeHead(503).end();
      return true;
    });
    await images.download([item], trust, forever);
    expect(images.items()).toMatchObject([{ state: 'pending' }]);
    expect(Math.max(...clock.slept)).toBeGreaterThan(10_000);
    expect(reports.some(({ state, reason }) => state === 'interrupted' && reason !== undefined)).toBe(true);
  });

  test('[CM-22] a link that stops before the images do fails no item', async () => {
    images = await open({ locate: () => Promise.reject(new AosError('canceled', 'the cloud link stops')) });
    const item = publisher.publish('web', '1');
    await expect(images.download([item], trust, forever)).rejects.toMatchObject({ code: 'canceled' });
    expect(images.items()).toMatchObject([{ state: 'downloading' }]);
  });

  test('[CM-16] a cloud that does not answer is asked again with a new correlation', async () => {
    const correlations: string[] = [];
    const source = new CloudBlobSource(
      async ({ correlationId, digests }) => {
        correlations.push(correlationId);
        if (correlations.length < 3) throw new AosError('timeout', 'no answer');
        return { messageType: 'blobUrls', correlationId, items: [await publisher.locate(digests[0]!)] };
      },
      clock,
      silentLogger,
    );
    images = await open(source);
    await images.download([publisher.publish('web', '1')], trust, forever);
    expect(new Set(correlations).size).toBe(correlations.length);
    expect(images.items()).toMatchObject([{ state: 'pending' }]);
  });

  test('[CM-43] progress is told each half minute, and each end; what is resumed counts the rest only', async () => {
    const item = publisher.publish('web', '1', { layers: [randomBytes(600_000)] });
    const [layer] = item.layers;
    const size = publisher.blobs.get(layer!)!.file.length;
    let breaks = 1;
    publisher.trouble.set(layer!, (response, file) => {
      breaks -= 1;
      if (breaks < 0) return false;
      response.writeHead(200, { etag: `"${layer!.slice(7)}"`, 'content-length': file.length });
      response.write(file.subarray(0, 300_000), () => response.destroy());
      return true;
    });
    let nowMs = 0;
    clock.monotonicMs = () => {
      nowMs += 1000;
      return nowMs;
    };
    await images.download([item], trust, forever);
    const told = reports.filter(({ digest }) => digest === layer);
    expect(told.filter(({ state }) => state !== 'started')).toMatchObject([
      { state: 'interrupted', totalBytes: size, error: { aosCode: 2 }, reason: expect.stringContaining('127.0.0.1') },
      { state: 'finished', downloadedBytes: size },
    ]);
    const { downloadedBytes: resumedFrom } = told.find(({ state }) => state === 'interrupted')!;
    expect(resumedFrom).toBeGreaterThan(0);
    expect(told.at(-1)?.totalBytes).toBe(size - resumedFrom);
    // As many seconds as pieces have passed, and a word for each thirty of them.
    expect(told.filter(({ state }) => state === 'started').length).toBeLessThan(2 + nowMs / 30_000);
  });

  test('[CM-43] an alert says in as few words as the cloud takes why a download was interrupted', () => {
    const alert = downloadAlert(
      { digest: 'd', url: 'u', downloadedBytes: 1, totalBytes: 2, state: 'interrupted', reason: 'ä'.repeat(1000) },
      new Date(0),
    );
    expect(alert).toEqual({
      timestamp: '1970-01-01T00:00:00.000000Z',
      tag: 'downloadProgressAlert',
      digest: 'd',
      url: 'u',
      downloadedBytes: 1,
      totalBytes: 2,
      state: 'interrupted',
      reason: 'ä'.repeat(128),
    });
  });
});

describe('damage', () => {
  const damage = async (digest: string) => {
    await chmod(blobFile(digest), 0o644);
    await writeFile(blobFile(digest), 'damaged');
  };

  test('[CM-46] a damaged blob of an installed item is fetched again', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    await images.install([item], notUsed, forever);
    await damage(item.layers[0]!);
    await images.download([item], trust, forever);
    expect(await readFile(blobFile(item.layers[0]!), 'utf8')).toBe('layer of web 1');
    expect(images.items()).toMatchObject([{ state: 'installed' }]);
  });

  test('the daily look finds damage that no time of a file tells, and mends it', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    await images.install([item], notUsed, forever);
    await damage(item.layers[0]!);
    await images.verifyAll(trust, forever);
    expect(await readFile(blobFile(item.layers[0]!), 'utf8')).toBe('layer of web 1');
  });

  test('[CM-46] soon after each start all is looked through once, and damage is mended', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    await images.install([item], notUsed, forever);
    await damage(item.layers[0]!);
    images = await open();
    clock.slept.length = 0;
    images.start();
    await vi.waitFor(async () => expect(await readFile(blobFile(item.layers[0]!), 'utf8')).toBe('layer of web 1'));
    await vi.waitFor(() => expect(clock.slept).toEqual([600_000, 24 * 3_600_000]));
    expect(images.items()).toMatchObject([{ state: 'installed' }]);
  });

  test('[CM-23] a desired status does not wait for the daily look, not even for one that waits for the cloud', async () => {
    const [item, next] = [publisher.publish('web', '1'), publisher.publish('next', '1')];
    await images.download([item], trust, forever);
    await images.install([item], notUsed, forever);
    await damage(item.layers[0]!);
    publisher.trouble.set(item.layers[0]!, () => true);
    const looking = expect(images.verifyAll(trust, forever)).rejects.toMatchObject({ code: 'canceled' });
    await vi.waitFor(() => expect(publisher.asked.at(-1)).toBe(item.layers[0]));
    publisher.trouble.clear();
    await images.download([item, next], trust, forever);
    await looking;
    expect(images.items().map(({ state }) => state)).toEqual(['installed', 'pending']);
  });

  test('an index that cannot be read stops the deletion of what may be in use', async () => {
    const [kept, dropped] = [publisher.publish('kept', '1'), publisher.publish('dropped', '1')];
    await images.download([kept, dropped], trust, forever);
    await images.install([kept, dropped], notUsed, forever);
    await damage(kept.indexDigest);
    images = await open();
    publisher.blobs.delete(kept.indexDigest);
    clock.offsetMs = 5000;
    await images.install([], notUsed, forever);
    clock.offsetMs = 10_000;
    database.exec(`DELETE FROM image_items WHERE item_id = 'dropped'`);
    images = await open();
    await images.install([], notUsed, forever);
    expect(await storedBlobs()).toContain(kept.layers[0]!.slice(7));
  });
});

describe('room', () => {
  /** Two items that were installed and removed, one after the other. */
  const removedItems = async () => {
    const items = [publisher.publish('a', '1'), publisher.publish('b', '1')];
    for (const item of items) {
      await images.download([item], trust, forever);
      await images.install([item], notUsed, forever);
      await images.install([], notUsed, forever);
      clock.offsetMs += 10;
    }
    return items;
  };

  test('[CM-51] without room an item fails with no memory, and says so in the words of the wire', async () => {
    disk.freeBytes = async () => 1000;
    await images.download([publisher.publish('web', '1')], trust, forever);
    expect(images.items()).toMatchObject([{ state: 'failed', error: { aosCode: 3, message: 'not enough space' } }]);
  });

  test('[CM-51] removed items make room, the oldest first, and only as many as needed', async () => {
    await removedItems();
    // As long as both are on the disk there is no room.
    disk.freeBytes = async () => (images.items().filter(({ state }) => state === 'removed').length > 1 ? 0 : GIB);
    const next = publisher.publish('c', '1');
    await images.download([next], trust, forever);
    expect(images.items().map(({ itemId, state }) => `${itemId} ${state}`)).toEqual(['b removed', 'c pending']);
  });

  test('[CM-51] a removed item that is damaged does not keep the others from making room', async () => {
    const old = await removedItems();
    await rm(blobFile(old[1]!.indexDigest));
    images = await open();
    const layers = old.map(({ layers: [layer] }) => layer!.slice(7));
    disk.freeBytes = async () => ((await storedBlobs()).some((name) => layers.includes(name)) ? 0 : GIB);
    await images.download([publisher.publish('c', '1')], trust, forever);
    expect(images.items().map(({ itemId, state }) => `${itemId} ${state}`)).toEqual(['c pending']);
  });
});

test('[CM-28] blobs of an item whose damaged manifest was fetched again are handed out', async () => {
  const item = publisher.publish('web', '1');
  await images.download([item], trust, forever);
  await images.install([item], notUsed, forever);
  const [layer] = item.layers;
  const index = JSON.parse(await readFile(blobFile(item.indexDigest), 'utf8')) as { manifests: { digest: string }[] };
  await rm(blobFile(index.manifests[0]!.digest));
  images = await open();
  await expect(images.blobUrl(layer!)).rejects.toMatchObject({ code: 'notFound' });
  await images.verifyAll(trust, forever);
  expect(await images.blobUrl(layer!)).toContain(layer!.slice('sha256:'.length));
});
