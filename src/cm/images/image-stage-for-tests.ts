/** Images of a unit for each test: a publisher, a database, a store, a clock in a hurry, and what is told of all. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach } from 'vitest';
import type { SignatureTrust } from '../../storage/index.ts';
import type { ItemStatus } from '../model.ts';
import type { BlobSource } from './blob-source.ts';
import type { DownloadReport } from './download-report.ts';
import type { ImageManager } from './image-manager.ts';
import type { ImagesOptions } from './open-images.ts';
import { openImageDatabase, openTestImages } from './open-images-for-tests.ts';
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
  const images = await openTestImages(directory, {
    ...{ database, source, trust: () => trust, clock, disk },
    onDownload: (report) => reports.push(report),
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
  database = await openImageDatabase(directory);
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
