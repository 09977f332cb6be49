/** What a CM does with its images: in the process of a test, or in one that dies on the way. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AosError, type Digest } from '../../core/index.ts';
import type { BlobInfo } from '../../protocol/index.ts';
import { Downloader, type SignatureTrust } from '../../storage/index.ts';
import type { ImageManager } from './image-manager.ts';
import { openImageDatabase, openTestImages } from './open-images-for-tests.ts';
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
  const database = await openImageDatabase(directory);
  const clock = hurriedClock();
  // What was removed is long ago.
  if (what === 'outdated') clock.offsetMs = 5000;
  const images = await openTestImages(directory, {
    database,
    source: {
      locate: async (digest) => {
        const blob = blobs[digest];
        if (!blob) throw new AosError('notFound', `the cloud does not have blob ${digest}`);
        return blob;
      },
    },
    trust: () => NOBODY,
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
