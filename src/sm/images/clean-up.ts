/** What may go, goes; what is damaged, is found (spec/sm.md 3.7, spec/decisions.md 4.3, T-76). */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  asAosError,
  type Clock,
  cautiousDate,
  type Digest,
  faultPoint,
  type ItemIdent,
  isAosError,
  type Logger,
  throwIfCanceled,
} from '../../core/index.ts';
import type { BlobStore } from '../../storage/index.ts';
import type { ItemRecord, ItemRecords, Part } from './item-records.ts';
import type { LayerStore } from './layer-store.ts';

/** Contents are read no faster when nobody waits for them. */
const IDLE_BYTES_PER_SECOND = 10 * 1024 * 1024;
/** A clock that says less was never set (2020-01-01). */
const PLAUSIBLE_TIME_MS = 1_577_836_800_000;

export interface CleanUpOptions {
  readonly records: ItemRecords;
  readonly blobs: BlobStore;
  readonly layers: LayerStore;
  readonly downloadDir: string;
  readonly exclusively: <T>(digest: Digest, signal: AbortSignal, work: () => Promise<T>) => Promise<T>;
  readonly isPinned: (digest: Digest) => boolean;
  readonly isInstalling: () => boolean;
  readonly inUse: () => readonly ItemIdent[];
  readonly onDamage: (item: ItemIdent, because: string) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly itemTtlMs: number;
  readonly periodMs: number;
}

export class CleanUp {
  readonly #options: CleanUpOptions;
  readonly #date: () => number;
  readonly #abort = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(options: CleanUpOptions) {
    this.#options = options;
    this.#date = cautiousDate(options.clock);
  }

  start(): void {
    this.#loop ??= this.#run(this.#abort.signal);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#loop;
  }

  /** Expired items, then damage, then what no item needs; nothing while an item is being installed. */
  async runOnce(signal: AbortSignal): Promise<void> {
    if (this.#options.isInstalling()) return;
    for (const record of this.#expired()) await this.#dropRecord(record, 'its time is over');
    await this.#checkIntegrity(signal, false);
    await this.removeOrphans(signal);
  }

  /** Removes the removed item that waits longest; false when there is none that may go. */
  async evictOldest(): Promise<boolean> {
    const used = this.#usedKeys();
    const victim = this.#options.records.all().find((record) => record.state === 'removed' && !used.has(key(record)));
    if (!victim) return false;
    await this.#dropRecord(victim, 'space is short');
    await this.removeOrphans(this.#abort.signal);
    return true;
  }

  /** Removes an item now, with everything that no other needs. */
  async drop(record: ItemRecord): Promise<void> {
    await this.#dropRecord(record, 'another version takes its place');
    await this.removeOrphans(this.#abort.signal);
  }

  /**
   * Removes the damaged parts of an item, so that they are fetched again. What an instance uses stays (spec/sm.md
   * T-76); the answer then says what stays damaged, else it is empty.
   */
  async discardDamaged(record: ItemRecord, signal: AbortSignal): Promise<string> {
    const { records, blobs, layers, exclusively } = this.#options;
    const held = this.#heldParts();
    let remaining = '';
    for (const part of records.partsOf(record)) {
      const damage = await this.#damageOf(part, { signal, pace: async () => undefined });
      if (damage === undefined) continue;
      if (held.has(partKey(part))) remaining ||= `${part.kind} ${part.digest}: ${damage}`;
      else if (part.kind === 'blob') await exclusively(part.digest, signal, () => blobs.remove(part.digest));
      else await exclusively(part.digest, signal, () => layers.remove(part.digest));
    }
    return remaining;
  }

  /** Removes every file of the stores that no record needs and no install works on. */
  async removeOrphans(signal: AbortSignal): Promise<void> {
    const { records, blobs, layers, logger } = this.#options;
    const needed = new Set(records.allParts().map(partKey));
    const removed: string[] = [];
    for await (const { digest } of blobs.list()) {
      if (await this.#removeOrphan({ kind: 'blob', digest }, needed, signal)) removed.push(digest);
    }
    for (const name of await layers.names()) {
      if (!/^[0-9a-f]{64}$/.test(name)) await layers.removeName(name);
      else if (await this.#removeOrphan({ kind: 'layer', digest: `sha256:${name}` }, needed, signal))
        removed.push(name);
    }
    await this.#removeOldDownloads();
    if (removed.length > 0) logger.info({ count: removed.length }, 'removed blobs and layers that no item needs');
  }

  async #removeOrphan(part: Part, needed: ReadonlySet<string>, signal: AbortSignal): Promise<boolean> {
    const { records, blobs, layers, exclusively, isPinned } = this.#options;
    if (needed.has(partKey(part)) || isPinned(part.digest)) return false;
    return exclusively(part.digest, signal, async () => {
      // An install may have begun, and even ended, while this waited.
      if (isPinned(part.digest) || records.allParts().some((other) => partKey(other) === partKey(part))) return false;
      faultPoint('sm.images.orphan');
      if (part.kind === 'blob') await blobs.remove(part.digest);
      else await layers.remove(part.digest);
      return true;
    });
  }

  /** Partial downloads are worth keeping only while somebody still wants them. */
  async #removeOldDownloads(): Promise<void> {
    const { downloadDir, isPinned } = this.#options;
    for (const name of await readdir(downloadDir)) {
      const hex = /[0-9a-f]{64}/.exec(name)?.[0];
      if (hex === undefined || !isPinned(`sha256:${hex}`))
        await rm(join(downloadDir, name), { recursive: true, force: true });
    }
  }

  #expired(): ItemRecord[] {
    const { records, itemTtlMs } = this.#options;
    const used = this.#usedKeys();
    const nowMs = this.#date();
    return records.all().filter(
      (record) =>
        record.state === 'removed' &&
        // With a clock that was never set nobody knows how old anything is.
        record.changedAtMs > PLAUSIBLE_TIME_MS &&
        nowMs - record.changedAtMs > itemTtlMs &&
        !used.has(key(record)),
    );
  }

  async #dropRecord(record: ItemRecord, because: string): Promise<void> {
    const { records, logger } = this.#options;
    records.delete(record);
    logger.info({ itemId: record.itemId, version: record.version, because }, 'removed an item from this node');
  }

  /** Marks damaged items, so that they are installed anew when they are asked for next; running instances go on. */
  async #checkIntegrity(signal: AbortSignal, readContents: boolean): Promise<void> {
    const { records, onDamage, logger } = this.#options;
    const checked = new Map<string, string | undefined>();
    for (const record of records.all()) {
      if (record.state !== 'installed' || record.damage !== '') continue;
      for (const part of records.partsOf(record)) {
        throwIfCanceled(signal);
        if (this.#options.isInstalling()) return;
        const id = partKey(part);
        const pace = readContents ? (bytes: number) => this.#pause(bytes, signal) : undefined;
        if (!checked.has(id)) checked.set(id, await this.#damageOf(part, { signal, pace }));
        const damage = checked.get(id);
        if (damage === undefined) continue;
        const because = `${part.kind} ${part.digest}: ${damage}`;
        // It may have been removed or installed anew while it was looked at.
        if (this.#options.isInstalling() || records.find(record)?.changedAtMs !== record.changedAtMs) break;
        records.markDamaged(record, because);
        logger.error({ itemId: record.itemId, version: record.version, because }, 'an item is damaged on the disk');
        onDamage({ itemId: record.itemId, version: record.version }, because);
        break;
      }
    }
  }

  async #damageOf(
    part: Part,
    check: { readonly signal: AbortSignal; readonly pace?: ((bytes: number) => Promise<void>) | undefined },
  ): Promise<string | undefined> {
    const { blobs, layers } = this.#options;
    if (part.kind === 'layer') return layers.findDamage(part.digest, check);
    const sizeBytes = await blobs.size(part.digest);
    if (sizeBytes === undefined) return 'it is not there';
    if (sizeBytes <= SMALL_BLOB_BYTES || check.pace) {
      // Hashing removes a damaged blob; nothing has it open for longer than a moment.
      const whole = await blobs.verify(part.digest, check.signal);
      await check.pace?.(sizeBytes);
      if (!whole) return 'its content had changed';
    }
    return undefined;
  }

  #pause(bytes: number, signal: AbortSignal): Promise<void> {
    return this.#options.clock.sleep((bytes / IDLE_BYTES_PER_SECOND) * 1000, signal);
  }

  #usedKeys(): Set<string> {
    return new Set(this.#options.inUse().map(key));
  }

  /** Parts of items that instances use now. */
  #heldParts(): Set<string> {
    const { records } = this.#options;
    const used = this.#usedKeys();
    return new Set(
      records
        .all()
        .filter((record) => used.has(key(record)))
        .flatMap((record) => records.partsOf(record).map(partKey)),
    );
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, periodMs, logger } = this.#options;
    while (!signal.aborted) {
      try {
        await this.runOnce(signal);
        await this.#checkIntegrity(signal, true);
        await clock.sleep(periodMs, signal);
      } catch (error) {
        if (isAosError(error, 'canceled')) return;
        logger.error({ error: asAosError(error).message }, 'the clean-up of images failed; it is tried again later');
        // Ends early only because the SM stops, which the loop sees.
        await clock.sleep(periodMs, signal).catch(() => undefined);
      }
    }
  }
}

/** Documents; small enough to be hashed whenever they are looked at. */
const SMALL_BLOB_BYTES = 1024 * 1024;

function key({ itemId, version }: ItemIdent): string {
  return JSON.stringify([itemId, version]);
}

function partKey({ kind, digest }: Part): string {
  return `${kind} ${digest}`;
}
