/** Puts the parts of the image manager together. */

import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Clock, Logger } from '../../core/index.ts';
import { systemClock } from '../../core/index.ts';
import type { ImageConfig } from '../../oci/index.ts';
import {
  BlobStore,
  Downloader,
  ensureDirectory,
  removeTemporaryFiles,
  type SignatureTrust,
} from '../../storage/index.ts';
import type { EventSink } from '../events/index.ts';
import { BlobFetcher } from './blob-fetcher.ts';
import type { BlobSource } from './blob-source.ts';
import type { DownloadReport } from './download-report.ts';
import { ImageManager } from './image-manager.ts';
import { DocumentCache } from './item-documents.ts';
import { ItemRows } from './item-rows.ts';
import { type Disk, hostDisk, SpaceKeeper } from './space.ts';

export interface ImagesOptions {
  readonly database: DatabaseSync;
  readonly installPath: string;
  readonly downloadPath: string;
  readonly source: BlobSource;
  readonly updateItemTtlMs: number;
  readonly removeOutdatedPeriodMs: number;
  readonly trust: () => SignatureTrust;
  readonly blobUrlPrefix: () => string;
  readonly caPem: readonly string[];
  readonly onDownload: (report: DownloadReport) => void;
  readonly events: EventSink;
  readonly logger: Logger;
  readonly wantsPlatform?: (config: ImageConfig) => boolean;
  readonly clock?: Clock;
  readonly disk?: Disk;
  /** Promises of room that others make on the same disk. Absent: nobody else writes there. */
  readonly space?: SpaceKeeper;
  readonly downloader?: Downloader;
}

/** Opens the store and the rows; nothing is fetched or deleted yet. */
export async function openImages(options: ImagesOptions): Promise<ImageManager> {
  const { database, installPath, logger, clock = systemClock, disk = hostDisk } = options;
  const store = await BlobStore.open(join(installPath, 'blobs'));
  const downloadDirectory = await chooseDownloadDirectory(options, disk);
  await removeTemporaryFiles(downloadDirectory);
  const documents = new DocumentCache(store);
  const space = options.space ?? new SpaceKeeper(disk, () => manager.evictOldest());
  const fetcher = new BlobFetcher({
    store,
    source: options.source,
    downloader: options.downloader ?? new Downloader({ clock }),
    downloadDirectory,
    space,
    caPem: options.caPem,
    clock,
    logger,
    onProgress: options.onDownload,
    onDamaged: (digest) => {
      documents.forget(digest);
      logger.warn({ digest }, 'a blob was damaged and is removed');
    },
  });
  const manager = new ImageManager({
    rows: new ItemRows(database),
    store,
    documents,
    fetcher,
    downloadDirectory,
    blobUrlPrefix: options.blobUrlPrefix,
    updateItemTtlMs: options.updateItemTtlMs,
    removeOutdatedPeriodMs: options.removeOutdatedPeriodMs,
    trust: options.trust,
    ...(options.wantsPlatform && { wantsPlatform: options.wantsPlatform }),
    events: options.events,
    logger,
    clock,
  });
  return manager;
}

/** A finished download is moved into the store, which works within one file system only. */
async function chooseDownloadDirectory(
  { downloadPath, installPath, logger }: ImagesOptions,
  disk: Disk,
): Promise<string> {
  const wanted = join(downloadPath, 'blobs', 'sha256');
  await ensureDirectory(wanted);
  if ((await disk.deviceOf(wanted)) === (await disk.deviceOf(installPath))) return wanted;
  const beside = join(installPath, 'download');
  await ensureDirectory(beside);
  logger.warn(
    { downloadPath, used: beside },
    'imageManager.downloadPath is on another file system than installPath; downloads go beside the installed blobs',
  );
  return beside;
}
