/**
 * Items on the unit: fetched, verified, kept, removed (spec/cm.md 3). One action runs at a time; rows are written
 * before anything that follows from them.
 */
import { stat } from 'node:fs/promises';
import {
  AosError,
  asAosError,
  type Clock,
  cautiousDate,
  type Digest,
  type ErrorInfo,
  type Logger,
  systemClock,
  throwIfCanceled,
  toErrorInfo,
} from '../../core/index.ts';
import type { ImageConfig } from '../../oci/index.ts';
import type { BlobStore, SignatureTrust } from '../../storage/index.ts';
import type { EventSink } from '../events/index.ts';
import type { ItemStatus } from '../model.ts';
import { IMAGES } from '../numbers.ts';
import type { BlobFetcher } from './blob-fetcher.ts';
import { deltaBases } from './delta-bases.ts';
import { type DocumentCache, type ItemDocuments, walkItem } from './item-documents.ts';
import { type ItemRow, type ItemRows, itemKey } from './item-rows.ts';
import { Limiter } from './limiter.ts';
import { deleteOrphans, digestsInUse, type InUse } from './orphans.ts';
import {
  oldestRemoved,
  outdatedItems,
  type PlannedChange,
  planDownload,
  planInstall,
  type WantedItem,
} from './plan-items.ts';

/** What the launcher and the SMs ask about items (spec/cm.md 3.10). */
export interface ItemReader {
  /** The documents of a version that is pending or installed. Throws `notFound`. */
  readItem(itemId: string, version: string): Promise<ItemDocuments>;
  /** Throws `notFound` for a version that is not on the unit or still being downloaded. */
  indexDigest(itemId: string, version: string): Digest;
  /** The pending version, else the installed one. Throws `notFound`. */
  currentVersion(itemId: string): string;
  /** Where the blob lies. Throws `notFound` when it is not there. */
  blobPath(digest: Digest): Promise<string>;
  /** Where SMs download it. Throws `notFound` when it is not there or of no item of the unit. */
  blobUrl(digest: Digest): Promise<string>;
}

export interface ImageManagerOptions {
  readonly rows: ItemRows;
  readonly store: BlobStore;
  readonly documents: DocumentCache;
  readonly fetcher: BlobFetcher;
  readonly downloadDirectory: string;
  /** `http://host:port` in front of `/blobs/…`. */
  readonly blobUrlPrefix: () => string;
  readonly updateItemTtlMs: number;
  /** How often removed items are looked at, and everything is verified. */
  readonly removeOutdatedPeriodMs: number;
  /** Whom the unit believes at the moment, for what the daily look must fetch again. */
  readonly trust: () => SignatureTrust;
  /** Whether some node may need layers for this platform. */
  readonly wantsPlatform?: (config: ImageConfig) => boolean;
  readonly events: EventSink;
  readonly logger: Logger;
  readonly clock?: Clock;
}

export class ImageManager implements ItemReader {
  readonly #options: ImageManagerOptions;
  readonly #clock: Clock;
  /** For ages of items. */
  readonly #date: () => number;
  readonly #oneAction = new Limiter(1);
  readonly #listeners = new Set<(changed: readonly ItemStatus[]) => void>();
  readonly #stopping = new AbortController();
  /** Ends a verification in favour of what a desired status wants. */
  #verifying = new AbortController();
  /** What items name, until a row changes; kept only when all of it is known. */
  #known: Promise<InUse> | undefined;

  constructor(options: ImageManagerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#date = cautiousDate(this.#clock);
  }

  /** Looks after removed items, now and from time to time, and soon after the start at the content of all others. */
  start(): void {
    void this.#lookAfter();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#oneAction.run(async () => undefined);
  }

  items(): readonly ItemStatus[] {
    return this.#options.rows.all();
  }

  subscribe(listener: (changed: readonly ItemStatus[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Fetches wanted items and drops what nobody wants any more. An item that fails is `failed` and does not hold up the
   * others; only `canceled` and a failing database or disk end the call.
   */
  download(wanted: readonly WantedItem[], trust: SignatureTrust, until: AbortSignal): Promise<void> {
    this.#verifying.abort();
    return this.#fetching(until, async (signal) => {
      const { rows, events } = this.#options;
      const plan = planDownload(rows.all(), wanted, this.#now());
      for (const item of plan.conflicting) {
        events.record({
          about: { kind: 'item', id: `${item.itemId} ${item.version}` },
          what: 'keeps its present content',
          because: `the desired status names another index (${item.indexDigest}) under the same version`,
        });
      }
      this.#write(plan.changes, 'cm.images.download');
      // A download that begins is news also when a crash interrupted the same one before.
      this.#tell(plan.fetch.filter((row) => !plan.changes.some((change) => 'put' in change && change.put === row)));
      await Promise.all([
        ...plan.verify.map((row) => this.#fetchItem(row, row.state, trust, signal)),
        ...plan.fetch.map((row) => this.#fetchItem(row, 'pending', trust, signal)),
      ]);
      await this.#deleteOrphans();
    });
  }

  /** At the end of an update: wanted items are `installed` if they are whole, others `removed` unless still used. */
  install(
    wanted: readonly WantedItem[],
    isUsed: (itemId: string, version: string) => boolean,
    until: AbortSignal,
  ): Promise<void> {
    const signal = this.#untilStopped(until);
    this.#verifying.abort();
    return this.#oneAction.run(async () => {
      const { rows } = this.#options;
      const unsound = new Map<string, ErrorInfo>();
      await Promise.all(
        wanted.map(async (item) => {
          if (item.rejected) return void unsound.set(itemKey(item), item.rejected);
          const row = rows.get(item.itemId, item.version);
          const error = row
            ? await this.#faultOf(row, signal)
            : toErrorInfo(new AosError('notFound', 'item is not there'));
          if (error) unsound.set(itemKey(item), error);
        }),
      );
      throwIfCanceled(signal);
      const facts = { unsound, isUsed: (row: ItemRow) => isUsed(row.itemId, row.version), nowMs: this.#now() };
      this.#write(planInstall(rows.all(), wanted, facts), 'cm.images.install');
      await this.#deleteOrphans();
    });
  }

  /** Deletes what was removed long ago; without news nothing is written. */
  removeOutdated(): Promise<void> {
    return this.#oneAction.run(async () => {
      const outdated = outdatedItems(this.#options.rows.all(), this.#options.updateItemTtlMs, this.#date());
      if (outdated.length === 0) return;
      const drops = outdated.map((row) => ({ drop: row, because: 'it was removed long ago' }));
      this.#write(drops, 'cm.images.outdated');
      await this.#deleteOrphans();
    });
  }

  /**
   * Reads all of every blob that is in use; damaged ones are fetched again (spec/decisions.md CM-20). Ends as `canceled`
   * when a desired status has something to do.
   */
  verifyAll(trust: SignatureTrust, until: AbortSignal): Promise<void> {
    this.#verifying = new AbortController();
    return this.#fetching(AbortSignal.any([until, this.#verifying.signal]), async (signal) => {
      const { rows, fetcher } = this.#options;
      const kept = rows.all().filter(({ state }) => state === 'installed' || state === 'pending');
      const { digests } = await digestsInUse(kept, this.#options.documents);
      for (const digest of digests) {
        throwIfCanceled(signal);
        if (await this.#options.store.has(digest)) await fetcher.hashAgain(digest, signal);
      }
      for (const row of kept) await this.#fetchItem(row, row.state, trust, signal);
    });
  }

  /** Removes the item that was removed first, for room on the disk; false when there is none. */
  async evictOldest(): Promise<boolean> {
    const { rows, documents } = this.#options;
    const oldest = oldestRemoved(rows.all());
    if (!oldest) return false;
    // Without certainty no blob would be deleted, and the item would be lost for nothing. A removed item that is damaged
    // hinders nobody: it goes in its turn.
    const kept = rows.all().filter(({ state }) => state !== 'removed');
    if (!(await digestsInUse(kept, documents)).certain) return false;
    this.#write([{ drop: oldest, because: 'room on the disk is needed' }], 'cm.images.evict');
    await this.#deleteOrphans();
    return true;
  }

  async readItem(itemId: string, version: string): Promise<ItemDocuments> {
    return this.#options.documents.read(this.indexDigest(itemId, version));
  }

  /** The `update` members of the item configurations of a version, as their authors wrote them. Throws `notFound`. */
  async updateRules(itemId: string, version: string): Promise<readonly unknown[]> {
    const { manifests } = await this.readItem(itemId, version);
    return manifests.flatMap(({ itemConfig }) => (itemConfig?.update === undefined ? [] : [itemConfig.update]));
  }

  indexDigest(itemId: string, version: string): Digest {
    const row = this.#options.rows.get(itemId, version);
    if (!row || row.state === 'downloading') {
      throw new AosError('notFound', `item ${itemId} ${version} is not on the unit`);
    }
    return row.indexDigest;
  }

  currentVersion(itemId: string): string {
    const rows = this.#options.rows.all().filter((row) => row.itemId === itemId);
    const current = rows.find(({ state }) => state === 'pending') ?? rows.find(({ state }) => state === 'installed');
    if (!current) throw new AosError('notFound', `item ${itemId} is not on the unit`);
    return current.version;
  }

  async blobPath(digest: Digest): Promise<string> {
    const path = this.#options.store.path(digest);
    try {
      await stat(path);
      return path;
    } catch (error) {
      throw asAosError(error, `blob ${digest}`);
    }
  }

  async blobUrl(digest: Digest): Promise<string> {
    await this.blobPath(digest);
    if (!(await this.isKnown(digest))) throw new AosError('notFound', `blob ${digest} is of no item of this unit`);
    return `${this.#options.blobUrlPrefix()}/blobs/${digest.toLowerCase().replace(':', '/')}`;
  }

  /** Whether an item on the unit names this blob. */
  async isKnown(digest: Digest): Promise<boolean> {
    this.#known ??= digestsInUse(this.#options.rows.all(), this.#options.documents);
    const known = this.#known;
    const { digests, certain } = await known;
    // A damaged document that is fetched again changes no row.
    if (!certain && this.#known === known) this.#known = undefined;
    return digests.has(digest.toLowerCase());
  }

  /** What the blob server asks. */
  server(): {
    readonly isKnown: (digest: Digest) => Promise<boolean>;
    readonly blobPath: (digest: Digest) => Promise<string>;
  } {
    return { isKnown: (digest) => this.isKnown(digest), blobPath: (digest) => this.blobPath(digest) };
  }

  async #lookAfter(): Promise<void> {
    const { signal } = this.#stopping;
    const { removeOutdatedPeriodMs, logger } = this.#options;
    // A unit that never runs for a whole day is looked through as well, when what starts with it has started.
    let pauseMs = Math.min(IMAGES.firstVerifyMs, removeOutdatedPeriodMs);
    for (; !signal.aborted; pauseMs = removeOutdatedPeriodMs) {
      try {
        await this.removeOutdated();
        await this.#clock.sleep(pauseMs, signal);
        await this.verifyAll(this.#options.trust(), signal);
      } catch (error) {
        if (signal.aborted) return;
        const aos = asAosError(error);
        if (aos.code !== 'canceled') logger.warn({ error: aos.message }, 'items could not be looked after');
        // Ends early only because the CM stops, which the loop sees.
        await this.#clock.sleep(removeOutdatedPeriodMs, signal).catch(() => undefined);
      }
    }
  }

  /**
   * One action that fetches. When it is over nothing of it goes on: not what is still on its way for an item that has
   * failed already, and not what a newer action would take for its own.
   */
  #fetching(until: AbortSignal, action: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const over = new AbortController();
    const signal = AbortSignal.any([this.#untilStopped(until), over.signal]);
    return this.#oneAction.run(async () => {
      throwIfCanceled(signal);
      try {
        await action(signal);
      } finally {
        over.abort();
        await this.#options.fetcher.idle();
      }
    });
  }

  /** Brings one item to a state; its failure is its own. */
  async #fetchItem(row: ItemRow, state: ItemRow['state'], trust: SignatureTrust, signal: AbortSignal): Promise<void> {
    const { documents, fetcher, wantsPlatform = () => true } = this.#options;
    try {
      await walkItem(row.indexDigest, {
        documents,
        visit: (digest, layer) =>
          fetcher.ensure(digest, trust, signal, layer && (() => deltaBases(row, layer, this.#options))),
        wantsPlatform,
        signal,
      });
    } catch (error) {
      throwIfCanceled(signal);
      const aos = asAosError(error);
      if (aos.code === 'canceled') throw aos;
      const put: ItemRow = { ...row, state: 'failed', error: toErrorInfo(aos), changedAtMs: this.#now() };
      this.#write([{ put, because: aos.message }], 'cm.images.failed');
      return;
    }
    if (row.state === state) return;
    const put: ItemRow = { ...row, state, error: undefined, changedAtMs: this.#now() };
    this.#write([{ put, because: 'everything of it is on the unit' }], 'cm.images.fetched');
  }

  /** What is wrong with an item as it lies on the disk. */
  async #faultOf(row: ItemRow, signal: AbortSignal): Promise<ErrorInfo | undefined> {
    const { documents, fetcher, wantsPlatform = () => true } = this.#options;
    const visit = async (digest: Digest) => {
      if (await fetcher.isWhole(digest, signal)) return;
      throw new AosError('invalidChecksum', `blob ${digest} is missing or damaged`);
    };
    try {
      await walkItem(row.indexDigest, { documents, visit, wantsPlatform, signal });
      return undefined;
    } catch (error) {
      throwIfCanceled(signal);
      return toErrorInfo(error);
    }
  }

  /** Writes rows, then tells: what is announced is durable. */
  #write(changes: readonly PlannedChange[], faultName: string): void {
    this.#options.rows.write(changes, faultName);
    this.#known = undefined;
    for (const change of changes) {
      const row = 'put' in change ? change.put : change.drop;
      if (!change.because) continue;
      this.#options.events.record({
        about: { kind: 'item', id: `${row.itemId} ${row.version}` },
        what: 'put' in change ? `became ${row.state}` : 'was deleted',
        because: change.because,
      });
    }
    // A row that was removed before has said so then.
    const told = changes.filter((change) => 'put' in change || change.drop.state !== 'removed');
    this.#tell(told.map((change) => ('put' in change ? change.put : { ...change.drop, state: 'removed' as const })));
  }

  #tell(changed: readonly ItemStatus[]): void {
    if (changed.length === 0) return;
    for (const listener of this.#listeners) listener(changed);
  }

  async #deleteOrphans(): Promise<void> {
    const { rows, documents, store, downloadDirectory, fetcher, logger } = this.#options;
    try {
      const remove = (digest: Digest) => fetcher.remove(digest);
      const deleted = await deleteOrphans({ rows: rows.all(), documents, store, remove, downloadDirectory });
      for (const digest of deleted) documents.forget(digest);
      if (deleted.length > 0) logger.info({ blobs: deleted.length }, 'deleted blobs that no item names any more');
    } catch (error) {
      logger.warn({ error: asAosError(error).message }, 'unused blobs could not be deleted; they are tried again');
    }
  }

  #untilStopped(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#stopping.signal]);
  }

  #now(): number {
    return this.#clock.now().getTime();
  }
}
