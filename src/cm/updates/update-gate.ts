/**
 * The one place where an update waits for its release: locks, windows, triggers (spec/beyond.md P-20, spec/product.md
 * CM-32). Downloads are done before it, nothing of the unit has changed yet.
 */
import type { DatabaseSync } from 'node:sqlite';
import { AosError, asAosError, type Clock, canceledBy, type Logger } from '../../core/index.ts';
import { transaction } from '../../storage/index.ts';
import type { EventSink } from '../events/index.ts';
import { UPDATE } from '../numbers.ts';
import {
  expired,
  type LockRequest,
  mayGoOn,
  type ReleaseRules,
  type UpdateKind,
  type UpdateLock,
} from './release-rules.ts';

export const GATE_TABLES = `
  CREATE TABLE update_locks (owner TEXT PRIMARY KEY, reason TEXT NOT NULL, expires_at INTEGER NOT NULL) STRICT;
`;

export interface UpdateGateOptions {
  readonly database: DatabaseSync;
  readonly rules: ReleaseRules;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A date that has moved farther than this was set. */
const CLOCK_WAS_SET_MS = 1000;

interface HeldLock extends UpdateLock {
  /** On the monotonic clock. */
  readonly endsAtMs: number;
}

export class UpdateGate {
  readonly #options: UpdateGateOptions;
  /** By owner; they end on the monotonic clock, so that a date that is set neither ends nor lengthens one. */
  readonly #locks = new Map<string, HeldLock>();
  readonly #released = new Set<UpdateKind>();
  #looksAgain: () => void = () => undefined;
  #waitsBecause: string | undefined;

  constructor(options: UpdateGateOptions) {
    this.#options = options;
    const rows = options.database.prepare('SELECT owner, reason, expires_at FROM update_locks').all();
    for (const { owner, reason, expires_at } of rows) {
      const { clock } = options;
      const endsAtMs = clock.monotonicMs() + Number(expires_at) - clock.now().getTime();
      const lock = { owner: String(owner), reason: String(reason), expiresAtMs: Number(expires_at), endsAtMs };
      this.#locks.set(lock.owner, lock);
    }
  }

  /** Why the update waits; undefined while none does. */
  get waitsBecause(): string | undefined {
    return this.#waitsBecause;
  }

  locks(): UpdateLock[] {
    const { clock } = this.#options;
    const [nowMs, dateMs] = [clock.monotonicMs(), clock.now().getTime()];
    for (const lock of this.#locks.values()) {
      const expiresAtMs = Math.round(dateMs + lock.endsAtMs - nowMs);
      if (Math.abs(expiresAtMs - lock.expiresAtMs) > CLOCK_WAS_SET_MS) {
        this.#locks.set(lock.owner, { ...lock, expiresAtMs });
      }
    }
    return [...this.#locks.values()].filter(({ endsAtMs }) => endsAtMs > nowMs).map(({ endsAtMs: _, ...lock }) => lock);
  }

  /** Holds updates until it is released or expires; an owner has one lock, the newest. Durable on return. */
  lock({ owner, reason, duration }: LockRequest): UpdateLock {
    if (!this.#locks.has(owner) && this.locks().length >= UPDATE.maxLocks) {
      throw new AosError('noMemory', `there are ${UPDATE.maxLocks} locks already`);
    }
    const { clock } = this.#options;
    const lock = { owner, reason, expiresAtMs: clock.now().getTime() + duration };
    this.#write(() => {
      const put = this.#options.database.prepare('INSERT OR REPLACE INTO update_locks VALUES (?, ?, ?)');
      put.run(owner, reason, lock.expiresAtMs);
    });
    this.#locks.set(owner, { ...lock, endsAtMs: clock.monotonicMs() + duration });
    this.#tell(`locked by ${owner} until ${new Date(lock.expiresAtMs).toISOString()}`, reason);
    return lock;
  }

  /** Throws `notFound` when the owner holds no lock. */
  unlock(owner: string): void {
    if (!this.#locks.has(owner)) throw new AosError('notFound', `${owner} holds no lock`);
    this.#write(() => this.#options.database.prepare('DELETE FROM update_locks WHERE owner = ?').run(owner));
    this.#locks.delete(owner);
    this.#tell(`unlocked by ${owner}`, 'its owner released the lock');
  }

  /** Lets go on what waits now. Throws `wrongState` when nothing waits. */
  release(kind: UpdateKind, by: string): void {
    if (this.#waitsBecause === undefined) throw new AosError('wrongState', 'no update waits for its release');
    this.#released.add(kind);
    this.#tell(`${kind} was released`, `${by} asked for it`);
  }

  /**
   * Waits until the update may go on. Throws `timeout` when its time to live is over, which counts from this call,
   * `canceled` when aborted.
   */
  async untilOpen(kinds: readonly UpdateKind[], signal: AbortSignal): Promise<void> {
    const { rules, clock, events } = this.#options;
    const ttlMs = Math.min(...kinds.map((kind) => rules[kind].ttlMs || Number.POSITIVE_INFINITY));
    const startedMs = clock.monotonicMs();
    this.#released.clear();
    try {
      for (;;) {
        if (signal.aborted) throw canceledBy(signal);
        const now = clock.now();
        const release = mayGoOn({ kinds, rules, locks: this.locks(), released: this.#released, now });
        if (release.open) return;
        const leftMs = ttlMs - (clock.monotonicMs() - startedMs);
        if (leftMs <= 0) throw expired(release.because);
        if (this.#waitsBecause !== release.because) {
          events.record({ about: { kind: 'update', id: 'update' }, what: 'waits', because: release.because });
        }
        this.#waitsBecause = release.because;
        await this.#news(Math.min(release.againInMs ?? UPDATE.gateLookMs, leftMs, UPDATE.gateLookMs), signal);
      }
    } finally {
      this.#waitsBecause = undefined;
    }
  }

  /** Waits for a change, or for as long; the wall clock may jump meanwhile, so never for very long. */
  async #news(waitMs: number, signal: AbortSignal): Promise<void> {
    const changed = new AbortController();
    this.#looksAgain = () => changed.abort();
    const all = AbortSignal.any([signal, changed.signal]);
    await this.#options.clock.sleep(Math.max(waitMs, 1), all).catch((error) => {
      this.#options.logger.trace({ reason: asAosError(error).message }, 'the gate of updates looks again');
    });
  }

  #write(work: () => void): void {
    transaction(this.#options.database, work, 'cm.update.lock');
  }

  #tell(what: string, because: string): void {
    this.#options.events.record({ about: { kind: 'update', id: 'update' }, what, because });
    this.#looksAgain();
  }
}
