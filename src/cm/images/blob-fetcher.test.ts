import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { BlobStore, Downloader, ensureDirectory } from '../../storage/index.ts';
import { IMAGES } from '../numbers.ts';
import { BlobFetcher } from './blob-fetcher.ts';
import { DocumentCache } from './item-documents.ts';
import type { ItemRow } from './item-rows.ts';
import { deleteOrphans } from './orphans.ts';
import { hurriedClock, Publisher } from './publisher-for-tests.ts';
import { hostDisk, SpaceKeeper } from './space.ts';

let directory: string;
let publisher: Publisher;
let fetcher: BlobFetcher;
let store: BlobStore;
let downloadDirectory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-fetcher-'));
  downloadDirectory = join(directory, 'download');
  await ensureDirectory(downloadDirectory);
  store = await BlobStore.open(join(directory, 'install'));
  publisher = await Publisher.open();
  const clock = hurriedClock();
  fetcher = new BlobFetcher({
    store,
    source: publisher,
    downloader: new Downloader({ clock, tries: 1 }),
    downloadDirectory,
    space: new SpaceKeeper(hostDisk, async () => false),
    caPem: [],
    clock,
    logger: silentLogger,
    onProgress: () => undefined,
    onDamaged: () => undefined,
  });
});

afterEach(async () => {
  await publisher.close();
  await rm(directory, { recursive: true, force: true });
});

test('blobs that cannot be had for now hold up no other', async () => {
  const stuck = Array.from({ length: 2 * IMAGES.parallelDownloads }, (_, index) =>
    publisher.put(Buffer.from(`${index}`)),
  );
  for (const digest of stuck) {
    publisher.trouble.set(digest, (response) => {
      response.writeHead(503).end();
      return true;
    });
  }
  const abort = new AbortController();
  const waiting = stuck.map((digest) => fetcher.ensure(digest, publisher.trust, abort.signal));
  const good = publisher.put(Buffer.from('good'));
  await fetcher.ensure(good, publisher.trust, abort.signal);
  expect(await store.has(good)).toBe(true);
  publisher.trouble.clear();
  await Promise.all(waiting);
  for (const digest of stuck) expect(await store.has(digest)).toBe(true);
});

test('[P-21] when nobody can say what a blob may begin with, it comes whole', async () => {
  const digest = publisher.put(Buffer.from('content'));
  const nowhere = () => Promise.reject(new Error('the disk cannot be read'));
  await fetcher.ensure(digest, publisher.trust, new AbortController().signal, nowhere);
  expect(await store.has(digest)).toBe(true);
});

test('[CM-29] room that is made while an item comes takes nothing of it away', async () => {
  const { signal } = new AbortController();
  const item = publisher.publish('web', '2');
  const [layer] = item.layers;
  const ensure = (digest: string) => fetcher.ensure(digest, publisher.trust, signal);
  await ensure(item.indexDigest);
  // A former version had the same layer; it is the one that gives way.
  await ensure(layer!);
  await fetcher.idle();
  const documents = new DocumentCache(store);
  const manifestDigest = (await documents.index(item.indexDigest)).manifests[0]!.digest;
  const row: ItemRow = { ...item, state: 'downloading', changedAtMs: 0 };
  const tooEarly = {
    index: (digest: string) => documents.index(digest),
    manifest: async () => {
      // Just when it was looked for in vain the manifest comes, and with it what it names.
      await ensure(manifestDigest);
      const { config } = await documents.manifest(manifestDigest);
      await Promise.all([ensure(config.digest), ensure(layer!)]);
      throw new Error('not there yet');
    },
  } as unknown as DocumentCache;
  const orphan = publisher.put(Buffer.from('of nobody'));
  await store.adopt(orphan, await fileOf('of nobody'));
  const remove = (digest: string) => fetcher.remove(digest);
  const deleted = await deleteOrphans({ rows: [row], documents: tooEarly, store, remove, downloadDirectory });
  expect(deleted).toEqual([orphan]);
  const { config } = await documents.manifest(manifestDigest);
  for (const digest of [manifestDigest, config.digest, layer!]) expect(await store.has(digest)).toBe(true);
});

async function fileOf(content: string): Promise<string> {
  const path = join(directory, 'file');
  await writeFile(path, content);
  return path;
}
