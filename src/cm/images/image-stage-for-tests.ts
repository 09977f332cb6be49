/** Images of a unit for each test: a publisher, a database, a store, a clock in a hurry, and what is told of all. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { Downloader, openDatabase, type SignatureTrust } from '../../storage/index.ts';
import type { ItemStatus } from '../model.ts';
import type { BlobSource } from './blob-source.ts';
import type { DownloadReport } from './download-report.ts';
import type { ImageManager } from './image-manager.ts';
import { IMAGE_TABLES } from './item-rows.ts';
import { type ImagesOptions, openImages } from './open-images.ts';
import { hurriedClock, Publisher } from './publisher-for-tests.ts';

export const GIB = 1024 ** 3;

let directory: string;
export let database: DatabaseSync;
export let publisher: Publisher;
export let trust: SignatureTrust;
export let clock: ReturnType<typeof hurriedClock>;
export let told: ItemStatus[];
export let reports: DownloadReport[];
/** What the disk has. */
export const disk = { freeBytes: async () => 0, deviceOf: async () => 1 };
export const forever = new AbortController().signal;

let opened: ImageManager[];

/** Again, as after a restart. */
export async function open(
  source: BlobSource = publisher,
  more: Pick<ImagesOptions, 'wantsPlatform'> = {},
): Promise<ImageManager> {
  const images = await openImages({
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
    events: { record: () => undefined },
    logger: silentLogger,
    clock,
    disk,
    downloader: new Downloader({ clock, tries: 2 }),
    ...more,
  });
  images.subscribe((changed) => told.push(...changed));
  opened.push(images);
  return images;
}

export const storedBlobs = async () => (await readdir(join(directory, 'install', 'blobs', 'sha256'))).sort();
export const partialFiles = () => readdir(join(directory, 'download', 'blobs', 'sha256'));
export const blobFile = (digest: string) => join(directory, 'install', 'blobs', digest.replace(':', '/'));
export const statesOf = (itemId: string) => told.filter((item) => item.itemId === itemId).map(({ state }) => state);
export const notUsed = () => false;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cm-images-'));
  database = await openDatabase(join(directory, 'cm.db'), [IMAGE_TABLES], silentLogger);
  publisher = await Publisher.open();
  ({ trust } = publisher);
  clock = hurriedClock();
  told = [];
  reports = [];
  opened = [];
  disk.freeBytes = async () => 100 * GIB;
});

afterEach(async () => {
  await Promise.all(opened.map((images) => images.stop()));
  await publisher.close();
  database.close();
  await rm(directory, { recursive: true, force: true });
});
