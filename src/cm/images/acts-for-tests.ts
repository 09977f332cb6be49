/** What a CM does with its images: in the process of a test, or in one that dies on the way. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AosError, type Digest, silentLogger } from '../../core/index.ts';
import type { BlobInfo } from '../../protocol/index.ts';
import { Downloader, openDatabase, type SignatureTrust } from '../../storage/index.ts';
import type { ImageManager } from './image-manager.ts';
import { IMAGE_TABLES } from './item-rows.ts';
import { openImages } from './open-images.ts';
import type { WantedItem } from './plan-items.ts';
import { hurriedClock } from './publisher-for-tests.ts';

export type Act = 'download' | 'install' | 'evict' | 'outdated';

/** What there is to fetch, and what is wanted of it. */
export interface Plan {
  readonly blobs: Readonly<Record<Digest, BlobInfo>>;
  readonly wanted: readonly WantedItem[];
}

const NOBODY: SignatureTrust = { certificates: [], chains: [], roots: [], claimedTime: {} };

/** Starts, does one thing, and stops; `directory` has the plan. Answers the items at the end, sorted. */
export async function act(directory: string, what: Act): Promise<string[]> {
  const { blobs, wanted } = JSON.parse(await readFile(join(directory, 'plan.json'), 'utf8')) as Plan;
  const database = await openDatabase(join(directory, 'cm.db'), [IMAGE_TABLES], silentLogger);
  const clock = hurriedClock();
  // What was removed is long ago.
  if (what === 'outdated') clock.offsetMs = 5000;
  const images = await openImages({
    database,
    installPath: join(directory, 'install'),
    downloadPath: join(directory, 'download'),
    source: {
      locate: async (digest) => {
        const blob = blobs[digest];
        if (!blob) throw new AosError('notFound', `the cloud does not have blob ${digest}`);
        return blob;
      },
    },
    updateItemTtlMs: 1000,
    removeOutdatedPeriodMs: 24 * 3_600_000,
    trust: () => NOBODY,
    blobUrlPrefix: () => 'http://main:8094',
    caPem: [],
    onDownload: () => undefined,
    events: { record: () => undefined },
    logger: silentLogger,
    clock,
    downloader: new Downloader({ clock, tries: 1 }),
  });
  try {
    await ACTS[what](images, wanted);
    return images
      .items()
      .map(({ itemId, state }) => `${itemId} ${state}`)
      .sort();
  } finally {
    await images.stop();
    database.close();
  }
}

const never = new AbortController().signal;

const ACTS: Readonly<Record<Act, (images: ImageManager, wanted: readonly WantedItem[]) => Promise<unknown>>> = {
  download: (images, wanted) => images.download(wanted, NOBODY, never),
  install: (images, wanted) => images.install(wanted, () => false, never),
  evict: (images) => images.evictOldest(),
  outdated: (images) => images.removeOutdated(),
};
