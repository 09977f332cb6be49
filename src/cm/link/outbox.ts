/**
 * Messages on their way to the cloud: queued in order, sent, acknowledged or sent again (spec/cloud-protocol.md 6,
 * spec/decisions.md 2.5, CM-63). Knows no socket; time comes in as an argument.
 */
import { isDiskFull } from '../../storage/index.ts';
import type { OutboxStore, StoredMessage } from './outbox-store.ts';

export interface OutboxMessage extends StoredMessage {
  readonly durable: boolean;
  readonly onAcknowledged?: (() => void) | undefined;
}

interface Entry extends OutboxMessage {
  /** Order of creation. */
  readonly seq: number;
  /** In the present session. */
  transmissions: number;
  /** Sessions that ended after it was sent and before it was acknowledged. */
  lostSessions: number;
  /** While sent or postponed: when it is due again, on the monotonic clock. */
  dueMs: number;
}

export interface OutboxLimits {
  readonly maxQueuedMessages: number;
  readonly maxQueuedBytes: number;
  readonly transmissions: number;
  readonly ackTimeoutMs: number;
}

/** A message that is given up, with the reason for the log. */
export interface Dropped {
  readonly message: OutboxMessage;
  readonly because: string;
}

/** A message that was under way when so many sessions ended may be what ends them. */
const MAX_LOST_SESSIONS = 16;

/** Rebuilt when a session opens, so an old one is never sent again. */
const REBUILT_ON_CONNECT = 'unitStatus';

export class Outbox {
  readonly #limits: OutboxLimits;
  readonly #store: OutboxStore;
  /** In the order of sending. */
  #queue = new Map<string, Entry>();
  /** In the order of sending, so the first one is due first. */
  readonly #sent = new Map<string, Entry>();
  readonly #postponed = new Map<string, Entry>();
  /** Durable ones that nobody acknowledged in this session; the next session tries again. */
  readonly #resting = new Map<string, Entry>();
  readonly #keys = new Map<string, string>();
  /** Nobody needs them any more, and a full disk has not let them go. */
  readonly #stale = new Set<string>();
  #bytes = 0;
  #seq = 0;

  constructor(store: OutboxStore, limits: OutboxLimits) {
    this.#limits = limits;
    this.#store = store;
    for (const message of store.load()) this.#enter({ ...message, durable: true });
  }

  /** Messages that are not acknowledged yet. */
  get size(): number {
    return this.#queue.size + this.#sent.size + this.#postponed.size + this.#resting.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether something was sent and its fate is not known. */
  get awaitsAcks(): boolean {
    return this.#sent.size > 0;
  }

  /** Queues a message; a durable one is stored before it can be sent. Answers what had to give way. */
  add(message: OutboxMessage, options: { readonly first?: boolean } = {}): Dropped[] {
    const replaced = message.replaces === undefined ? undefined : this.#keys.get(message.replaces);
    const old = replaced === undefined ? undefined : this.#find(replaced);
    const room = this.#makeRoom(message, old);
    if (!room.fits) return [{ message, because: 'the queue is full' }];
    if (message.durable) {
      this.#store.put(message, old?.durable ? [old.txn, ...this.#stale] : [...this.#stale]);
      this.#stale.clear();
    } else if (old?.durable) this.#unstore(old.txn);
    if (old) this.#leave(old);
    const entry = this.#enter(message);
    if (options.first) {
      this.#queue.delete(entry.txn);
      this.#queue = new Map([[entry.txn, entry], ...this.#queue]);
    }
    return room.dropped;
  }

  /** The next message to be sent; it counts as sent from now on. */
  take(nowMs: number): OutboxMessage | undefined {
    const [next] = this.#queue.values();
    if (!next) return undefined;
    this.#queue.delete(next.txn);
    next.transmissions += 1;
    next.dueMs = nowMs + this.#limits.ackTimeoutMs;
    this.#sent.set(next.txn, next);
    return next;
  }

  /** The time for an ack counts from the end of sending. */
  sent(txn: string, nowMs: number): void {
    const entry = this.#sent.get(txn);
    if (!entry) return;
    entry.dueMs = nowMs + this.#limits.ackTimeoutMs;
    this.#sent.delete(txn);
    this.#sent.set(txn, entry);
  }

  /** The cloud wants it later; this does not count as a transmission. False when it was not sent. */
  postpone(txn: string, retryAfterMs: number, nowMs: number): boolean {
    const entry = this.#sent.get(txn);
    if (!entry) return false;
    this.#sent.delete(txn);
    entry.transmissions -= 1;
    entry.dueMs = nowMs + retryAfterMs;
    this.#postponed.set(txn, entry);
    return true;
  }

  /** The cloud has it, or nobody waits for it any more: it leaves every queue. False when it is not known. */
  forget(txn: string): boolean {
    const entry = this.#find(txn);
    if (!entry) return false;
    if (entry.durable) this.#unstore(txn);
    this.#leave(entry);
    entry.onAcknowledged?.();
    return true;
  }

  /** Queues again what is due; answers what is given up. */
  expire(nowMs: number): Dropped[] {
    const dropped: Dropped[] = [];
    for (const entry of [...this.#sent.values()]) {
      if (entry.dueMs > nowMs) break;
      this.#sent.delete(entry.txn);
      if (entry.transmissions < this.#limits.transmissions) {
        this.#queue.set(entry.txn, entry);
      } else if (entry.durable) {
        this.#resting.set(entry.txn, entry);
      } else {
        this.#leave(entry);
        dropped.push({ message: entry, because: `no ack after ${entry.transmissions} transmissions` });
      }
    }
    for (const entry of [...this.#postponed.values()]) {
      if (entry.dueMs > nowMs) continue;
      this.#postponed.delete(entry.txn);
      this.#queue.set(entry.txn, entry);
    }
    return dropped;
  }

  /** When `expire` has something to do; undefined: never. */
  nextDueMs(): number | undefined {
    const [first] = this.#sent.values();
    const due = [...(first ? [first.dueMs] : []), ...[...this.#postponed.values()].map(({ dueMs }) => dueMs)];
    return due.length === 0 ? undefined : Math.min(...due);
  }

  /**
   * The session is over: all that is not acknowledged waits for the next one in the order of its creation. Answers what
   * is given up.
   */
  sessionEnded(): Dropped[] {
    const all = [
      ...this.#sent.values(),
      ...this.#postponed.values(),
      ...this.#resting.values(),
      ...this.#queue.values(),
    ].sort((a, b) => a.seq - b.seq);
    for (const waiting of [this.#sent, this.#postponed, this.#resting]) waiting.clear();
    this.#queue = new Map(all.map((entry) => [entry.txn, entry]));
    const dropped: Dropped[] = [];
    for (const entry of all) {
      if (entry.transmissions > 0) entry.lostSessions += 1;
      entry.transmissions = 0;
      if (entry.messageType === REBUILT_ON_CONNECT) {
        this.#leave(entry);
      } else if (!entry.durable && entry.lostSessions >= MAX_LOST_SESSIONS) {
        this.#leave(entry);
        dropped.push({ message: entry, because: `${entry.lostSessions} sessions ended before it was acknowledged` });
      }
    }
    return dropped;
  }

  /** What a full disk does not let go goes with the next one; a restart before that sends it once more. */
  #unstore(txn: string): void {
    this.#stale.add(txn);
    try {
      this.#store.remove([...this.#stale]);
      this.#stale.clear();
    } catch (error) {
      if (!isDiskFull(error)) throw error;
    }
  }

  #find(txn: string): Entry | undefined {
    return this.#queue.get(txn) ?? this.#sent.get(txn) ?? this.#postponed.get(txn) ?? this.#resting.get(txn);
  }

  #enter(message: OutboxMessage): Entry {
    this.#seq += 1;
    const entry: Entry = { ...message, seq: this.#seq, transmissions: 0, lostSessions: 0, dueMs: 0 };
    this.#queue.set(entry.txn, entry);
    this.#bytes += entry.frame.length;
    if (entry.replaces !== undefined) this.#keys.set(entry.replaces, entry.txn);
    return entry;
  }

  #leave(entry: Entry): void {
    for (const place of [this.#queue, this.#sent, this.#postponed, this.#resting]) place.delete(entry.txn);
    this.#bytes -= entry.frame.length;
    if (entry.replaces !== undefined && this.#keys.get(entry.replaces) === entry.txn) this.#keys.delete(entry.replaces);
  }

  /** The oldest ones that are not durable give way; durable ones never do. */
  #makeRoom(message: OutboxMessage, old: Entry | undefined): { readonly fits: boolean; readonly dropped: Dropped[] } {
    const { maxQueuedMessages, maxQueuedBytes } = this.#limits;
    let size = this.size + 1 - (old ? 1 : 0);
    let bytes = this.#bytes + message.frame.length - (old?.frame.length ?? 0);
    const victims: Entry[] = [];
    for (const entry of this.#queue.values()) {
      if (size <= maxQueuedMessages && bytes <= maxQueuedBytes) break;
      if (entry.durable || entry === old) continue;
      victims.push(entry);
      size -= 1;
      bytes -= entry.frame.length;
    }
    if (size > maxQueuedMessages || bytes > maxQueuedBytes) return { fits: false, dropped: [] };
    for (const victim of victims) this.#leave(victim);
    return {
      fits: true,
      dropped: victims.map((victim) => ({ message: victim, because: 'the queue is full and it is the oldest' })),
    };
  }
}
