/** Data of instances that run no more: it waits for them, and goes when nobody can come back for it (spec/cm.md 4.13). */
import { asAosError, type Clock, cautiousDate, instanceKey, type Logger } from '../../core/index.ts';
import { identsOf, planCache } from './cache.ts';
import { type InstanceRow, rowKey } from './instance-row.ts';
import type { InstanceStore } from './instance-store.ts';
import type { InstanceStorage } from './schedule.ts';

export interface FormerInstancesOptions {
  readonly store: InstanceStore;
  readonly storage: InstanceStorage;
  readonly ttlMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class FormerInstances {
  readonly #options: FormerInstancesOptions;
  readonly #date: () => number;

  constructor(options: FormerInstancesOptions) {
    this.#options = options;
    this.#date = cautiousDate(options.clock);
  }

  /** Removes what was cached for too long, with its data when nothing else of the instance is left. */
  async removeExpired(): Promise<void> {
    const { store, ttlMs } = this.#options;
    const { rows, requests } = store;
    const active = rows.filter(({ state }) => state === 'active');
    const { kept, removed } = planCache(
      rows.filter(({ state }) => state !== 'active'),
      active.length,
      { nowMs: this.#date(), ttlMs },
    );
    store.save({ requests, rows: [...active, ...kept] });
    await this.forget(removed);
  }

  /** Removes the data of rows that are gone, unless another row of the same instance is left. */
  async forget(removed: readonly InstanceRow[]): Promise<void> {
    const { store, storage, logger } = this.#options;
    const known = removed.length > 0 ? identsOf(store.rows) : new Set();
    for (const row of removed) {
      if (known.has(instanceKey(row.ident))) continue;
      try {
        await storage.remove(row.ident);
      } catch (error) {
        logger.error({ instance: rowKey(row), error: asAosError(error).message }, 'data was not removed');
      }
    }
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
}
