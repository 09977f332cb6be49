import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { AosError, silentLogger } from '../../core/index.ts';
import { Downloader, openDatabase, type SignatureTrust } from '../../storage/index.ts';
import type { NewEvent } from '../events/index.ts';
import type { ItemStatus } from '../model.ts';
import type { DownloadReport } from './blob-fetcher.ts';
import type { BlobSource } from './blob-source.ts';
import { CloudBlobSource } from './blob-source.ts';
import type { ImageManager } from './image-manager.ts';
import { IMAGE_TABLES } from './item-rows.ts';
import { openImages } from './open-images.ts';
import { hurriedClock, Publisher } from './publisher-for-tests.ts';
import type { Disk } from './space.ts';

const GIB = 1024 ** 3;

let directory: string;
let database: DatabaseSync;
let publisher: Publisher;
let trust: SignatureTrust;
let clock: ReturnType<typeof hurriedClock>;
let images: ImageManager;
let told: ItemStatus[];
let reports: DownloadReport[];
let events: NewEvent[];
let freeBytes: () => Promise<number>;
const forever = new AbortController().signal;

async function open(source: BlobSource = publisher): Promise<ImageManager> {
  const disk: Disk = { freeBytes: () => freeBytes(), deviceOf: async () => 1 };
  const opened = await openImages({
    database,
    installPath: join(directory, 'install'),
    downloadPath: join(directory, 'download'),
    source,
    updateItemTtlMs: 1000,
    removeOutdatedPeriodMs: 24 * 3_600_000,
    trust: () => trust,
    blobUrlPrefix: () => 'http://main:8094',
    caPem: [],
    onDownload: (report) => reports.push(report),
    events: { record: (event) => events.push(event) },
    logger: silentLogger,
    clock,
    disk,
    downloader: new Downloader({ clock, tries: 2 }),
  });
  opened.subscribe((changed) => told.push(...changed));
  return opened;
}

const storedBlobs = async () => (await readdir(join(directory, 'install', 'blobs', 'sha256'))).sort();
const partialFiles = () => readdir(join(directory, 'download', 'blobs', 'sha256'));
const blobFile = (digest: string) => join(directory, 'install', 'blobs', digest.replace(':', '/'));
const statesOf = (itemId: string) => told.filter((item) => item.itemId === itemId).map(({ state }) => state);
const notUsed = () => false;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cm-images-'));
  database = await openDatabase(join(directory, 'cm.db'), [IMAGE_TABLES], silentLogger);
  publisher = await Publisher.open();
  ({ trust } = publisher);
  clock = hurriedClock();
  told = [];
  reports = [];
  events = [];
  freeBytes = async () => 100 * GIB;
  images = await open();
});

afterEach(async () => {
  await images.stop();
  await publisher.close();
  database.close();
  await rm(directory, { recursive: true, force: true });
});

describe('fetching', () => {
  test('[CM-48] [CM-44] an item is walked from its index to its layers, decrypted', async () => {
    const item = publisher.publish('web', '1', { layers: [Buffer.from('one'), Buffer.from('two')] });
    await images.download([item], trust, forever);
    expect(images.items()).toMatchObject([{ itemId: 'web', version: '1', state: 'pending' }]);
    expect(await readFile(await images.blobPath(item.layers[1]!), 'utf8')).toBe('two');
    const { manifests } = await images.readItem('web', '1');
    expect(manifests).toMatchObject([{ imageConfig: { architecture: 'amd64' }, itemConfig: { author: 'web' } }]);
    expect(publisher.asked[0]).toBe(item.indexDigest);
    expect(publisher.asked).toHaveLength(6);
  });

  test('[CM-28] [CM-21] its states are told as they are stored: downloading, pending, installed', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    await images.install([item], notUsed, forever);
    expect(statesOf('web')).toEqual(['downloading', 'pending', 'installed']);
  });

  test('[CM-47] what two items share is fetched once and kept once', async () => {
    const layers = [Buffer.from('shared layer')];
    const items = [publisher.publish('a', '1', { layers }), publisher.publish('b', '1', { layers })];
    await images.download(items, trust, forever);
    expect(publisher.asked.filter((digest) => digest === items[0]!.layers[0])).toHaveLength(1);
    expect(images.items().map(({ state }) => state)).toEqual(['pending', 'pending']);
  });

  test('[CM-20] what is there and whole is not asked for again', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    publisher.asked.length = 0;
    await images.download([item], trust, forever);
    expect(publisher.asked).toEqual([]);
  });

  test('[CM-43] progress is told: started and finished', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    const states = reports.filter(({ digest }) => digest === item.layers[0]).map(({ state }) => state);
    expect(states).toEqual(['started', 'finished']);
  });
});

describe('what cannot be believed', () => {
  test('[CM-45] [CM-27] [X-14] a signature of an unknown chain fails the item and leaves the others', async () => {
    const [bad, good] = [publisher.publish('bad', '1'), publisher.publish('good', '1')];
    const { signInfo } = publisher.blobs.get(bad.layers[0]!)!.info;
    publisher.tell(bad.layers[0]!, { signInfo: { ...signInfo!, chainName: 'strangers' } });
    await images.download([bad, good], trust, forever);
    expect(images.items()).toMatchObject([
      { itemId: 'bad', state: 'failed', error: { aosCode: 5 } },
      { itemId: 'good', state: 'pending' },
    ]);
    expect(await storedBlobs()).not.toContain(bad.layers[0]!.slice(7));
  });

  test('[CM-46] [X-14] content that is not that of the digest fails the item', async () => {
    const item = publisher.publish('web', '1');
    const evil = publisher.put(Buffer.from('something else'));
    const { file: _, ...stolen } = publisher.blobs.get(evil)!;
    publisher.blobs.set(item.layers[0]!, {
      ...publisher.blobs.get(evil)!,
      info: { ...stolen.info, digest: item.layers[0]! },
    });
    await images.download([item], trust, forever);
    expect(images.items()).toMatchObject([{ state: 'failed', error: { aosCode: 10 } }]);
    expect(await storedBlobs()).not.toContain(item.layers[0]!.slice(7));
  });

  test('[CM-46] a file that never matches its checksum fails the item after three downloads', async () => {
    const item = publisher.publish('web', '1');
    publisher.tell(item.layers[0]!, { sha256: '0'.repeat(64) });
    await images.download([item], trust, forever);
    expect(images.items()).toMatchObject([{ state: 'failed', error: { aosCode: 10 } }]);
    const hex = item.layers[0]!.slice(7);
    expect(publisher.requests.filter((request) => request.includes(hex))).toHaveLength(3);
  });

  test('a blob that the cloud does not have fails the item with not found', async () => {
    const item = publisher.publish('web', '1');
    publisher.blobs.delete(item.layers[0]!);
    await images.download([item], trust, forever);
    expect(images.items()).toMatchObject([{ state: 'failed', error: { aosCode: 5 } }]);
  });

  test('[CM-28] a failed item keeps its error over a restart, until it is desired again and succeeds', async () => {
    const item = publisher.publish('web', '1');
    const blob = publisher.blobs.get(item.layers[0]!)!;
    publisher.blobs.delete(item.layers[0]!);
    await images.download([item], trust, forever);
    await images.install([item], notUsed, forever);
    images = await open();
    expect(images.items()).toMatchObject([{ state: 'failed', error: { aosCode: 5 } }]);
    publisher.blobs.set(item.layers[0]!, blob);
    await images.download([item], trust, forever);
    expect(images.items()).toMatchObject([{ state: 'pending', error: undefined }]);
  });
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
});

describe('replacing and coming back', () => {
  test('[CM-35] [CM-29] an older version comes back without any download', async () => {
    const [first, second] = [publisher.publish('web', '1'), publisher.publish('web', '2')];
    for (const item of [first, second]) {
      await images.download([item], trust, forever);
      await images.install([item], notUsed, forever);
    }
    expect(images.items()).toMatchObject([
      { version: '1', state: 'removed' },
      { version: '2', state: 'installed' },
    ]);
    publisher.asked.length = 0;
    await images.download([first], trust, forever);
    await images.install([first], notUsed, forever);
    expect(publisher.asked).toEqual([]);
    expect(images.items().find(({ version }) => version === '1')).toMatchObject({ state: 'installed' });
  });

  test('[CM-35] [CM-30] the version that was installed last counts as the newest, also after a restart', async () => {
    const [one, two] = [publisher.publish('web', '1'), publisher.publish('web', '2')];
    for (const wanted of [one, two, one]) {
      await images.download([wanted], trust, forever);
      // An instance of version 2 goes on.
      await images.install([wanted], (_, version) => version === '2', forever);
    }
    const installed = () => images.items().map(({ version, state }) => `${version} ${state}`);
    expect(installed()).toEqual(['2 installed', '1 installed']);
    images = await open();
    expect(installed()).toEqual(['2 installed', '1 installed']);
  });

  test('[CM-52] [CM-29] what was removed goes for good when its time is over, with its blobs', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    await images.install([item], notUsed, forever);
    await images.install([], notUsed, forever);
    await images.removeOutdated();
    expect(await storedBlobs()).not.toEqual([]);
    clock.offsetMs = 5000;
    await images.removeOutdated();
    expect(images.items()).toEqual([]);
    expect(await storedBlobs()).toEqual([]);
  });

  test('[CM-53] an item that is dropped while it waits goes with its blobs', async () => {
    await images.download([publisher.publish('web', '1')], trust, forever);
    await images.download([], trust, forever);
    expect(images.items()).toEqual([]);
    expect(await storedBlobs()).toEqual([]);
    expect(statesOf('web').at(-1)).toBe('removed');
  });

  test('blobs of a former life are taken by content, and stay until a desired status was accepted', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    database.exec('DELETE FROM image_items');
    images = await open();
    images.start();
    await images.removeOutdated();
    expect(await storedBlobs()).toHaveLength(5);
    publisher.asked.length = 0;
    await images.download([item], trust, forever);
    expect(publisher.asked).toEqual([]);
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
  test('[CM-51] without room an item fails with no memory, and says so in the words of the wire', async () => {
    freeBytes = async () => 1000;
    await images.download([publisher.publish('web', '1')], trust, forever);
    expect(images.items()).toMatchObject([{ state: 'failed', error: { aosCode: 3, message: 'not enough space' } }]);
  });

  test('[CM-51] removed items make room, the oldest first, and only as many as needed', async () => {
    const old = [publisher.publish('a', '1'), publisher.publish('b', '1')];
    for (const item of old) {
      await images.download([item], trust, forever);
      await images.install([item], notUsed, forever);
      await images.install([], notUsed, forever);
      clock.offsetMs += 10;
    }
    // As long as both are on the disk there is no room.
    freeBytes = async () => (images.items().filter(({ state }) => state === 'removed').length > 1 ? 0 : GIB);
    const next = publisher.publish('c', '1');
    await images.download([next], trust, forever);
    expect(images.items().map(({ itemId, state }) => `${itemId} ${state}`)).toEqual(['b removed', 'c pending']);
  });

  test('[CM-51] a removed item that is damaged does not keep the others from making room', async () => {
    const old = [publisher.publish('a', '1'), publisher.publish('b', '1')];
    for (const item of old) {
      await images.download([item], trust, forever);
      await images.install([item], notUsed, forever);
      await images.install([], notUsed, forever);
      clock.offsetMs += 10;
    }
    await rm(blobFile(old[1]!.indexDigest));
    images = await open();
    const layers = old.map(({ layers: [layer] }) => layer!.slice(7));
    freeBytes = async () => ((await storedBlobs()).some((name) => layers.includes(name)) ? 0 : GIB);
    await images.download([publisher.publish('c', '1')], trust, forever);
    expect(images.items().map(({ itemId, state }) => `${itemId} ${state}`)).toEqual(['c pending']);
  });
});

describe('what others ask', () => {
  test('[CM-50] the address of a blob names the file server, and only blobs of known items have one', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    const hex = item.layers[0]!.slice(7);
    expect(await images.blobUrl(item.layers[0]!)).toBe(`http://main:8094/blobs/sha256/${hex}`);
    await expect(images.blobUrl(publisher.put(Buffer.from('unknown')))).rejects.toMatchObject({ code: 'notFound' });
  });

  test('a version that is still being downloaded is not there yet', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    expect(images.indexDigest('web', '1')).toBe(item.indexDigest);
    expect(images.currentVersion('web')).toBe('1');
    expect(() => images.indexDigest('web', '9')).toThrow(/not on the unit/);
    expect(() => images.currentVersion('other')).toThrow(/not on the unit/);
  });
});
