/** Messages of the cloud: each once, in order of arrival per kind (spec/decisions.md C-15, C-16). */
import { asAosError, type Logger } from '../../core/index.ts';
import type { CloudMessage } from '../../protocol/index.ts';
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

/** One ordered queue per kind of message; different kinds overlap. */
export class Inbox {
  readonly #maxWaiting: number;
  readonly #logger: Logger;
  readonly #handlers = new Map<string, AnyHandler>();
  readonly #queues = new Map<string, Waiting[]>();
  #closed = false;

  constructor(maxWaiting: number, logger: Logger) {
    this.#maxWaiting = maxWaiting;
    this.#logger = logger;
  }

  handle<T extends HandledType>(type: T, handler: Handler<T>): void {
    this.#handlers.set(type, handler as unknown as AnyHandler);
  }

  /** False when too many of this kind wait: the message must be neither acknowledged nor remembered. */
  deliver(message: CloudMessage, received: Received): boolean {
    const { messageType } = message;
    if (this.#closed) return false;
    if (!this.#handlers.has(messageType)) {
      this.#logger.warn({ messageType, txn: received.txn }, 'nobody waits for this message; it is ignored');
      return true;
    }
    const queue = this.#queues.get(messageType);
    if (queue) {
      if (queue.length >= this.#maxWaiting) return false;
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
    this.#closed = true;
  }

  async #drain(messageType: string, queue: Waiting[]): Promise<void> {
    for (let next = queue[0]; next && !this.#closed; next = queue[0]) {
      try {
        await this.#handlers.get(messageType)!(next.message, next.received);
      } catch (error) {
        this.#logger.error(
          { messageType, txn: next.received.txn, error: asAosError(error).message },
          'a message of the cloud could not be carried out',
        );
      }
      queue.shift();
    }
    this.#queues.delete(messageType);
  }
}
