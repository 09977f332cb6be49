/** The images of a CM over a directory and a database, with what most tests do not care about. */
import { join } from 'node:path';
import { silentLogger } from '../../core/index.ts';
import { Downloader, openDatabase } from '../../storage/index.ts';
import type { ImageManager } from './image-manager.ts';
import { IMAGE_TABLES } from './item-rows.ts';
import { type ImagesOptions, openImages } from './open-images.ts';
import { hurriedClock } from './publisher-for-tests.ts';

export const openImageDatabase = (directory: string) =>
  openDatabase(join(directory, 'cm.db'), [IMAGE_TABLES], silentLogger);

/** What is installed and downloaded lies in `install` and `download` of the directory. */
export function openTestImages(
  directory: string,
  options: Pick<ImagesOptions, 'database' | 'source' | 'trust'> & Partial<ImagesOptions>,
): Promise<ImageManager> {
  const { clock = hurriedClock() } = options;
  return openImages({
    installPath: join(directory, 'install'),
    downloadPath: join(directory, 'download'),
    updateItemTtlMs: 1000,
    removeOutdatedPeriodMs: 24 * 3_600_000,
    blobUrlPrefix: () => 'http://main:8094',
    caPem: [],
    onDownload: () => undefined,
    events: { record: () => undefined },
    logger: silentLogger,
    clock,
    downloader: new Downloader({ clock, tries: 2 }),
    ...options,
  });
}
