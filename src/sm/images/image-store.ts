/** Items on this node: fetched from the CM, checked, unpacked, kept, and removed when their time has come (spec/sm.md 3). */

import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import {
  AosError,
  asAosError,
  type Clock,
  type Digest,
  eachOf,
  type ItemIdent,
  isAosError,
  type Logger,
  parseDigest,
  systemClock,
} from '../../core/index.ts';
import { type Descriptor, MAX_DOCUMENT_BYTES } from '../../oci/index.ts';
import type { Programs } from '../../platform/program/index.ts';
import { BlobStore, Downloader, ensureDirectory } from '../../storage/index.ts';
import type { InstalledItem } from '../model.ts';
import { Slots } from '../slots.ts';
import { CleanUp } from './clean-up.ts';
import { type ItemRecord, ItemRecords, type Part } from './item-records.ts';
import { LayerStore } from './layer-store.ts';
import { Pins } from './locks.ts';
import { PartFetcher } from './part-fetcher.ts';
import {
  documentDigests,
  type ItemDocuments,
  readItemDocuments,
  toInstalledItem,
  type WantedItem,
} from './read-item.ts';
import { Space } from './space.ts';

/** Items that are installed at the same time (spec/decisions.md 8.3). */
const PARALLEL_INSTALLS = 4;
/** Layers or files of an item that are fetched, or unpacked, at the same time. */
const PARALLEL_PARTS = 2;
/** Versions of an item that are kept (spec/sm.md 3.6). */
const VERSIONS_PER_ITEM = 2;

const DAY_MS = 24 * 3600 * 1000;

export interface ImageStoreOptions {
  /** Must be on a file system that takes device nodes and extended attributes; its path without `:`, `,`, `"` and `\`. */
  readonly imagePath: string;
  /** Has the tables of `IMAGE_TABLES`. */
  readonly database: DatabaseSync;
  /** Asks the CM for the addresses of blobs (`GetBlobsInfos`). */
  readonly blobUrls: (digests: readonly Digest[], signal: AbortSignal) => Promise<readonly string[]>;
  /** Host part of the CM's address: takes the place of a loopback host in the addresses (spec/decisions.md C-74). */
  readonly cmHost?: string;
  readonly logger: Logger;
  readonly clock?: Clock;
  readonly downloader?: Downloader;
  /** Runs programs of the host; by default as children of our own. */
  readonly programs?: Programs;
  /** Items of instances that run: nothing of them is ever removed (spec/sm.md T-76). */
  readonly inUse?: () => readonly ItemIdent[];
  /** Hears of damage that was found, once for each item. */
  readonly onDamage?: (item: ItemIdent, because: string) => void;
  /** Life of removed items on the disk. Default 30 days. */
  readonly itemTtlMs?: number;
  /** Pause between two clean-ups. Default 24 hours. */
  readonly cleanUpPeriodMs?: number;
  /** Most of the partition that images may use; 0, the default: no limit. */
  readonly partLimitPercent?: number;
}

export class ImageStore {
  readonly #options: ImageStoreOptions;
  readonly #clock: Clock;
  readonly #records: ItemRecords;
  readonly #blobs: BlobStore;
  readonly #layers: LayerStore;
  readonly #fetcher: PartFetcher;
  readonly #downloader: Downloader;
  readonly #cleanUp: CleanUp;
  readonly #slots = new Slots(PARALLEL_INSTALLS);
  readonly #pins = new Pins();
  #installing = 0;

  private constructor(options: ImageStoreOptions, blobs: BlobStore, layers: LayerStore, downloadDir: string) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#records = new ItemRecords(options.database);
    this.#blobs = blobs;
    this.#layers = layers;
    this.#downloader = options.downloader ?? new Downloader({ clock: this.#clock });
    const space = new Space({
      directory: options.imagePath,
      limitPercent: options.partLimitPercent ?? 0,
      usedBytes: () => this.#usedBytes(),
      evict: () => this.#cleanUp.evictOldest(),
    });
    const { blobUrls, cmHost = '' } = options;
    const clock = this.#clock;
    this.#fetcher = new PartFetcher({
      blobs,
      layers,
      space,
      downloader: this.#downloader,
      downloadDir,
      blobUrls,
      cmHost,
      clock,
    });
    this.#cleanUp = new CleanUp({
      records: this.#records,
      blobs,
      layers,
      downloadDir,
      exclusively: (digest, signal, work) => this.#fetcher.exclusively(digest, signal, work),
      isPinned: (digest) => this.#pins.has(digest),
      isInstalling: () => this.#installing > 0,
      inUse: options.inUse ?? (() => []),
      onDamage: options.onDamage ?? (() => undefined),
      clock,
      logger: options.logger,
      itemTtlMs: options.itemTtlMs ?? 30 * DAY_MS,
      periodMs: options.cleanUpPeriodMs ?? DAY_MS,
    });
  }

  static async open(options: ImageStoreOptions): Promise<ImageStore> {
    const { imagePath } = options;
    const bad = /[:,\\"\n]/.exec(imagePath)?.[0];
    if (bad !== undefined) {
      throw new AosError(
        'invalidArgument',
        `imagePath "${imagePath}" contains ${JSON.stringify(bad)}, which the kernel does not take in the layers of an overlay; use another directory`,
      );
    }
    const downloadDir = join(imagePath, 'downloads');
    await ensureDirectory(downloadDir);
    const blobs = await BlobStore.open(join(imagePath, 'blobs'));
    return new ImageStore(options, blobs, await LayerStore.open(imagePath, options.programs), downloadDir);
  }

  /**
   * Brings everything of an item to this node; answers at once, without reading a layer, when it is here already.
   *
   * Throws `notFound` when the CM has no address, `invalidChecksum` for content that is not that of its digest,
   * `notSupported` for a media type, `outOfRange` for a wrong number of diff ids, `invalidArgument` for a document or
   * an archive that is refused, `noMemory` when there is no space, `canceled`; else what the download threw.
   */
  async install(wanted: WantedItem, signal: AbortSignal): Promise<InstalledItem> {
    const item = normalized(wanted);
    const here = await this.#findInstalled(item);
    if (here) return here;
    return this.#slots.use(() => this.#install(item, signal), signal);
  }

  /** Nobody needs this version any more: it may go when its time is over or space is short. Throws `notFound`. */
  remove(itemId: string, version: string): void {
    if (!this.#records.markRemoved(itemId, version, this.#clock.now().getTime())) {
      throw new AosError('notFound', `item ${itemId} ${version} is not on this node`);
    }
  }

  /** Items that are on this node and not removed. */
  installed(): WantedItem[] {
    return this.#records
      .all()
      .filter(({ state }) => state === 'installed')
      .map(({ itemId, version, type, manifestDigest }) => ({ itemId, version, type, manifestDigest }));
  }

  /**
   * Begins to clean up, now and then once a period. Call it when the instances of the last run are known to `inUse`
   * (spec/decisions.md 6.2): what nobody needs is removed.
   */
  startCleanUp(): void {
    this.#cleanUp.start();
  }

  /** One clean-up now; answers when it is done. */
  cleanUp(signal: AbortSignal): Promise<void> {
    return this.#cleanUp.runOnce(signal);
  }

  async stop(): Promise<void> {
    await this.#cleanUp.stop();
    this.#downloader.close();
  }

  /** From the disk alone; undefined when anything is missing. */
  async #findInstalled(wanted: WantedItem): Promise<InstalledItem | undefined> {
    const record = this.#records.find(wanted);
    if (record?.state !== 'installed' || record.manifestDigest !== wanted.manifestDigest || record.damage !== '') {
      return undefined;
    }
    try {
      const documents = await readItemDocuments(wanted, ({ digest }) =>
        this.#blobs.readText(digest, MAX_DOCUMENT_BYTES),
      );
      const complete = await Promise.all(documents.manifest.layers.map(({ digest }) => this.#isHere(wanted, digest)));
      return complete.every(Boolean) ? this.#toInstalled(wanted, documents) : undefined;
    } catch (error) {
      if (isAosError(error, 'notFound') || isAosError(error, 'invalidChecksum')) return undefined;
      throw error;
    }
  }

  async #isHere({ type }: WantedItem, digest: Digest): Promise<boolean> {
    return type === 'component' ? this.#blobs.has(digest) : (await this.#layers.find(digest)) !== undefined;
  }

  async #install(wanted: WantedItem, signal: AbortSignal): Promise<InstalledItem> {
    const name = `${wanted.itemId} ${wanted.version}`;
    const releases: (() => void)[] = [];
    const pin = (digest: Digest) => releases.push(this.#pins.add(digest));
    this.#installing += 1;
    try {
      const damage = await this.#discardDamaged(wanted, signal);
      const documents = await readItemDocuments(wanted, (descriptor, what) => {
        pin(descriptor.digest);
        return this.#fetcher.document(descriptor, what, signal);
      });
      const { layers } = documents.manifest;
      for (const { digest } of layers) pin(digest);
      const fetch = async ([index, descriptor]: [number, Descriptor], either: AbortSignal) => {
        const what = `layer ${index} of ${name} (${descriptor.digest})`;
        if (wanted.type === 'component') await this.#fetcher.file(descriptor, what, either);
        else await this.#fetcher.layer(descriptor, what, either);
      };
      await eachOf([...layers.entries()], PARALLEL_PARTS, fetch, signal);
      await this.#makeRoomForVersion(wanted);
      for (const warning of documents.warnings) {
        this.#options.logger.warn({ itemId: wanted.itemId, version: wanted.version }, `item configuration: ${warning}`);
      }
      this.#record(wanted, documents, damage);
      return this.#toInstalled(wanted, documents);
    } catch (error) {
      throw asAosError(error, `cannot install ${name}`);
    } finally {
      this.#installing -= 1;
      for (const release of releases) release();
    }
  }

  /** What the integrity check found damaged is fetched again. Answers what has to stay since instances use it. */
  async #discardDamaged(wanted: WantedItem, signal: AbortSignal): Promise<string> {
    const record = this.#records.find(wanted);
    if (!record || record.damage === '') return '';
    const remaining = await this.#cleanUp.discardDamaged(record, signal);
    if (remaining !== '') {
      this.#options.logger.warn(
        { itemId: wanted.itemId, version: wanted.version, because: remaining },
        'a damaged item is kept as it is since instances use it',
      );
    }
    return remaining;
  }

  #record(wanted: WantedItem, documents: ItemDocuments, damage: string): void {
    const kind = wanted.type === 'component' ? 'blob' : 'layer';
    const parts: Part[] = [
      ...documentDigests(wanted, documents).map((digest) => ({ kind: 'blob', digest }) as const),
      ...documents.manifest.layers.map(({ digest }) => ({ kind, digest }) as const),
      ...this.#partsOfOtherManifest(wanted),
    ];
    const record: ItemRecord = { ...wanted, state: 'installed', changedAtMs: this.#clock.now().getTime(), damage };
    this.#records.put(record, parts);
  }

  /**
   * Instances of one version may have different manifests, for example on two runtimes of this node: what an instance
   * runs from stays, whichever of them was installed last.
   */
  #partsOfOtherManifest({ itemId, version, type, manifestDigest }: WantedItem): readonly Part[] {
    const before = this.#records.find({ itemId, version, type });
    if (before === undefined || before.manifestDigest === manifestDigest) return [];
    const isUsed = this.#options.inUse?.().some((item) => item.itemId === itemId && item.version === version);
    return isUsed ? this.#records.partsOf(before) : [];
  }

  /** A third version takes the place of the oldest one that nobody uses, removed ones first. */
  async #makeRoomForVersion({ itemId, version }: WantedItem): Promise<void> {
    const others = this.#records.all().filter((record) => record.itemId === itemId && record.version !== version);
    if (others.length < VERSIONS_PER_ITEM) return;
    const used = new Set(
      (this.#options.inUse?.() ?? []).filter((item) => item.itemId === itemId).map((item) => item.version),
    );
    const candidates = others.filter((record) => !used.has(record.version));
    const victim = candidates.find(({ state }) => state === 'removed') ?? candidates[0];
    if (!victim) return;
    this.#options.logger.info({ itemId, version: victim.version }, 'the oldest version makes room for a new one');
    await this.#cleanUp.drop(victim);
  }

  #toInstalled(wanted: WantedItem, documents: ItemDocuments): InstalledItem {
    const store = wanted.type === 'component' ? this.#blobs : this.#layers;
    return toInstalledItem(wanted, documents, (digest) => store.path(digest));
  }

  async #usedBytes(): Promise<number> {
    let bytes = 0;
    for await (const { sizeBytes } of this.#blobs.list()) bytes += sizeBytes;
    for (const name of await this.#layers.names()) {
      // What cannot be read is found by the check of integrity, which names it; it counts for nothing until then.
      bytes += (await this.#layers.find(`sha256:${name}`).catch(() => undefined))?.sizeBytes ?? 0;
    }
    return bytes;
  }
}

function normalized(wanted: WantedItem): WantedItem {
  const { itemId, type, version, manifestDigest } = wanted;
  const { algorithm, hex } = parseDigest(manifestDigest);
  return { itemId, type, version, manifestDigest: `${algorithm}:${hex}` };
}
