/** One download after the other: what is left of the former one never gets in the way of the next. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { Downloader, openDatabase } from '../../storage/index.ts';
import type { ImageManager } from './image-manager.ts';
import { IMAGE_TABLES } from './item-rows.ts';
import { openImages } from './open-images.ts';
import { hurriedClock, Publisher } from './publisher-for-tests.ts';

let directory: string;
let database: DatabaseSync;
let publisher: Publisher;
let images: ImageManager;
const forever = new AbortController().signal;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cm-succession-'));
  database = await openDatabase(join(directory, 'cm.db'), [IMAGE_TABLES], silentLogger);
  publisher = await Publisher.open();
  const clock = hurriedClock();
  images = await openImages({
    database,
    installPath: join(directory, 'install'),
    downloadPath: join(directory, 'download'),
    source: publisher,
    updateItemTtlMs: 1000,
    removeOutdatedPeriodMs: 24 * 3_600_000,
    trust: () => publisher.trust,
    blobUrlPrefix: () => 'http://main:8094',
    caPem: [],
    onDownload: () => undefined,
    events: { record: () => undefined },
    logger: silentLogger,
    clock,
    downloader: new Downloader({ clock, tries: 2 }),
  });
});

afterEach(async () => {
  await images.stop();
  await publisher.close();
  database.close();
  await rm(directory, { recursive: true, force: true });
});

const states = () => images.items().map(({ itemId, state }) => `${itemId} ${state}`);

/** Takes requests and never answers. */
const silence = (_: ServerResponse) => true;

test('[CM-23] a download that begins while the former one is still being given up is not given up with it', async () => {
  const layers = Array.from({ length: 12 }, (_, index) => Buffer.from(`layer ${index}`));
  const items = [publisher.publish('web', '1', { layers }), publisher.publish('other', '1')];
  const mute = (digest: string) => publisher.trouble.set(digest, silence);
  for (const digest of items[0]!.layers) mute(digest);
  for (let round = 0; round < 5; round += 1) {
    const former = new AbortController();
    const given = images.download(items, publisher.trust, former.signal);
    const ended = expect(given).rejects.toMatchObject({ code: 'canceled' });
    await vi.waitFor(() => expect(publisher.requests.length).toBeGreaterThan(0));
    publisher.requests.length = 0;
    former.abort();
    await ended;
  }
  publisher.trouble.clear();
  await images.download(items, publisher.trust, forever);
  expect(states()).toEqual(['web pending', 'other pending']);
});

test('[CM-24] what is on its way for an item that has failed ends with the download, and is clean', async () => {
  const bad = publisher.publish('bad', '1', { layers: [Buffer.from('wrong'), Buffer.from('never comes')] });
  const good = publisher.publish('good', '1');
  const [wrong, never] = bad.layers;
  publisher.tell(wrong!, { sha256: 'f'.repeat(64) });
  publisher.trouble.set(never!, silence);
  await images.download([bad, good], publisher.trust, forever);
  expect(states()).toEqual(['bad failed', 'good pending']);
  publisher.requests.length = 0;
  publisher.trouble.clear();
  await images.download([good], publisher.trust, forever);
  expect(publisher.requests).toEqual([]);
  expect(await readdir(join(directory, 'download', 'blobs', 'sha256'))).toEqual([]);
});

test('a look at all blobs that a desired status interrupts does not end the download that comes then', async () => {
  const item = publisher.publish('web', '1');
  await images.download([item], publisher.trust, forever);
  await images.install([item], () => true, forever);
  await rm(join(directory, 'install', 'blobs', item.layers[0]!.replace(':', '/')));
  publisher.trouble.set(item.layers[0]!, silence);
  publisher.requests.length = 0;
  const look = expect(images.verifyAll(publisher.trust, forever)).rejects.toMatchObject({ code: 'canceled' });
  await vi.waitFor(() => expect(publisher.requests.length).toBeGreaterThan(0));
  publisher.trouble.clear();
  await images.download([item], publisher.trust, forever);
  await look;
  expect(states()).toEqual(['web installed']);
});
