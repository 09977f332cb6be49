/** Messages of the cloud: each once, in order of arrival per kind (spec/decisions.md C-15, C-16). */
import { asAosError, type Clock, type Logger } from '../../core/index.ts';
import type { CloudMessage } from '../../protocol/index.ts';
import { untilStored } from '../until-stored.ts';
import type { HandledType, Handler, Received } from './model.ts';

/** The transactions seen last. */
export class RecentTransactions {
  readonly #capacity: number;
  readonly #seen = new Set<string>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  has(txn: string): boolean {
    return this.#seen.has(txn);
  }

  add(txn: string): void {
    this.#seen.add(txn);
    if (this.#seen.size <= this.#capacity) return;
    const [oldest] = this.#seen;
    this.#seen.delete(oldest!);
  }
}

interface Waiting {
  readonly message: CloudMessage;
  readonly received: Received;
}

type AnyHandler = (message: CloudMessage, received: Received) => Promise<void> | void;

export interface InboxOptions {
  /** Messages of one kind that wait for the one before them. */
  readonly maxWaiting: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * One ordered queue per kind of message; different kinds overlap. What a full disk does not let happen is done when there is
 * room: the cloud does not say again what is acknowledged.
 */
export class Inbox {
  readonly #options: InboxOptions;
  readonly #logger: Logger;
  readonly #handlers = new Map<string, AnyHandler>();
  readonly #queues = new Map<string, Waiting[]>();
  readonly #closing = new AbortController();

  constructor(options: InboxOptions) {
    this.#options = options;
    this.#logger = options.logger;
  }

  handle<T extends HandledType>(type: T, handler: Handler<T>): void {
    this.#handlers.set(type, handler as unknown as AnyHandler);
  }

  /** False when too many of this kind wait: the message must be neither acknowledged nor remembered. */
  deliver(message: CloudMessage, received: Received): boolean {
    const { messageType } = message;
    if (this.#closing.signal.aborted) return false;
    if (!this.#handlers.has(messageType)) {
      this.#logger.warn({ messageType, txn: received.txn }, 'nobody waits for this message; it is ignored');
      return true;
    }
    const queue = this.#queues.get(messageType);
    if (queue) {
      if (queue.length >= this.#options.maxWaiting) return false;
      queue.push({ message, received });
      return true;
    }
    const fresh = [{ message, received }];
    this.#queues.set(messageType, fresh);
    void this.#drain(messageType, fresh);
    return true;
  }

  /** Nothing more is handed out; a handler that runs finishes by itself. */
  close(): void {
    this.#closing.abort();
  }

  async #drain(messageType: string, queue: Waiting[]): Promise<void> {
    const { signal } = this.#closing;
    for (let next = queue[0]; next && !signal.aborted; next = queue[0]) {
      const { message, received } = next;
      const about = { messageType, txn: received.txn };
      const onFull = (error: string) =>
        this.#logger.warn({ ...about, error }, 'a message of the cloud waits for room on the disk');
      const work = () => this.#handlers.get(messageType)!(message, received);
      try {
        await untilStored(work, { clock: this.#options.clock, signal, onFull });
      } catch (error) {
        this.#logger.error(
          { ...about, error: asAosError(error).message },
          'a message of the cloud could not be carried out',
        );
      }
      queue.shift();
    }
    this.#queues.delete(messageType);
  }
}
