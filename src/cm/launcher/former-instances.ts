/** Data of instances that run no more: it waits for them, and goes when nobody can come back for it (spec/cm.md 4.13). */
import { asAosError, type Clock, cautiousDate, instanceKey, type Logger } from '../../core/index.ts';
import { identsOf, planCache } from './cache.ts';
import { type InstanceRow, rowKey } from './instance-row.ts';
import type { InstanceStore } from './instance-store.ts';
import type { DataOwner, InstanceStorage } from './schedule.ts';

export interface FormerInstancesOptions {
  readonly store: InstanceStore;
  readonly storage: InstanceStorage;
  readonly ttlMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class FormerInstances {
  readonly #options: FormerInstancesOptions;
  /** Whole milliseconds since the epoch. */
  readonly #date: () => number;

  constructor(options: FormerInstancesOptions) {
    this.#options = options;
    const date = cautiousDate(options.clock);
    this.#date = () => Math.floor(date());
  }

  /** Data without a row, left by a CM that died before it stored the instance, becomes that of a former instance. */
  adopt(): void {
    const { store, storage, logger } = this.#options;
    const { requests, rows } = store;
    const known = identsOf(rows);
    const adopted = storage.owners().flatMap((owner) => (known.has(instanceKey(owner.ident)) ? [] : owner));
    if (adopted.length === 0) return;
    logger.warn({ instances: adopted.length }, 'data without an instance is kept as that of former instances');
    store.save({ requests, rows: [...rows, ...adopted.map((owner) => formerRow(owner, this.#date()))] });
  }

  /** Removes what was cached for too long, with its data when nothing else of the instance is left. */
  async removeExpired(): Promise<void> {
    this.adopt();
    await this.#remove(0, this.#options.ttlMs);
  }

  /** Removes the oldest beyond what there is room for, beside so many that are to come; answers how many went. */
  makeRoom(lacking: number): Promise<number> {
    return this.#remove(lacking, Number.POSITIVE_INFINITY);
  }

  /** Of instances that were active and are no more nobody watches the state. */
  async release(before: readonly InstanceRow[]): Promise<void> {
    const { store, storage } = this.#options;
    const active = identsOf(store.rows.filter(({ state }) => state === 'active'));
    for (const row of before) {
      if (row.state !== 'active' || active.has(instanceKey(row.ident))) continue;
      await storage.release(row.ident);
    }
  }

  async #remove(lacking: number, ttlMs: number): Promise<number> {
    const { store } = this.#options;
    const { rows, requests } = store;
    const active = rows.filter(({ state }) => state === 'active');
    const { kept, removed } = planCache(
      rows.filter(({ state }) => state !== 'active'),
      active.length + lacking,
      { nowMs: this.#date(), ttlMs },
    );
    // The data first: as long as there are rows, a removal that was cut short is found again.
    const left = await this.#removeData(removed, identsOf([...active, ...kept]));
    store.save({ requests, rows: [...active, ...kept, ...left] });
    return removed.length - left.length;
  }

  /** Spares the data of `living` instances. Answers the rows whose data is still there: they are tried again later. */
  async #removeData(removed: readonly InstanceRow[], living: ReadonlySet<string>): Promise<InstanceRow[]> {
    const { storage, logger } = this.#options;
    const left: InstanceRow[] = [];
    for (const row of removed) {
      if (living.has(instanceKey(row.ident))) continue;
      try {
        await storage.remove(row.ident);
      } catch (error) {
        left.push(row);
        logger.error(
          { instance: rowKey(row), error: asAosError(error).message },
          'data of a former instance was not removed; it is tried again with the next check',
        );
      }
    }
    return left;
  }
}

function formerRow({ ident, uid, gid }: DataOwner, nowMs: number): InstanceRow {
  return {
    ident,
    // No version: whichever comes finds the data, and the user it belongs to.
    version: '',
    ownerId: '',
    subjectType: 'group',
    isUnitSubject: false,
    priority: 0,
    labels: [],
    state: 'cached',
    nodeId: '',
    prevNodeId: '',
    runtimeId: '',
    manifestDigest: '',
    uid,
    gid,
    stampedAtMs: nowMs,
    isPinned: false,
    storagePath: '',
    statePath: '',
    because: 'its data was found',
  };
}
