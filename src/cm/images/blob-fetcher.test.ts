import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { BlobStore, Downloader, ensureDirectory } from '../../storage/index.ts';
import { IMAGES } from '../numbers.ts';
import { BlobFetcher } from './blob-fetcher.ts';
import { hurriedClock, Publisher } from './publisher-for-tests.ts';
import { hostDisk, SpaceKeeper } from './space.ts';

let directory: string;
let publisher: Publisher;
let fetcher: BlobFetcher;
let store: BlobStore;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-fetcher-'));
  const downloadDirectory = join(directory, 'download');
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
