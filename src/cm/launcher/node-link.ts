/**
 * What goes between the launcher and one node: never more than one `UpdateInstances` without an answer
 * (spec/decisions.md 7.2, CM-13, CM-36).
 */
import { asAosError, type Clock, canceledBy, type Logger } from '../../core/index.ts';
import type { ReportedInstance } from '../nodes/index.ts';

/** How an exchange ended. `gone`: the node is no longer to be waited for; `failed`: the message could not be sent. */
export type Outcome = 'answered' | 'timeout' | 'failed' | 'gone';

export interface NodeLinkOptions {
  readonly nodeId: string;
  /** Sends what the node shall run at this moment; throws when it cannot. */
  readonly send: () => void;
  readonly onSettled: (outcome: Outcome) => void;
  readonly answerTimeoutMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class NodeLink {
  readonly #options: NodeLinkOptions;
  readonly #waiters = new Set<() => void>();
  /** What the node reported last, preinstalled ones included. */
  reported: readonly ReportedInstance[] = [];
  #isConnected = false;
  #hasList = false;
  /** Something is to be sent as soon as it may. */
  #isDirty = false;
  /** Ends the time-out of the message that waits for its answer. */
  #outstanding: AbortController | undefined;

  constructor(options: NodeLinkOptions) {
    this.#options = options;
  }

  /** Connected, and its list of instances has arrived since. */
  get isReady(): boolean {
    return this.#isConnected && this.#hasList;
  }

  connected(): void {
    this.#interrupt();
    this.#isConnected = true;
    this.#hasList = false;
  }

  disconnected(): void {
    this.#interrupt();
    this.#isConnected = false;
    this.#hasList = false;
  }

  /** Takes a full list; false when the node speaks by itself and has not just been told something. */
  took(instances: readonly ReportedInstance[]): boolean {
    this.reported = instances;
    this.#hasList = this.#isConnected;
    const isAnswer = this.#outstanding !== undefined;
    this.#outstanding?.abort();
    this.#outstanding = undefined;
    if (this.#isDirty) this.#pump();
    else if (isAnswer) this.#settle('answered');
    return isAnswer || this.#outstanding !== undefined;
  }

  /** Sends what the node shall run, now or when the message before is answered. */
  request(): void {
    this.#isDirty = true;
    this.#pump();
  }

  /** Nobody waits for this node any more. */
  leave(): void {
    this.#isDirty = false;
    if (!this.#outstanding) return;
    this.#outstanding.abort();
    this.#outstanding = undefined;
    this.#settle('gone');
  }

  stop(): void {
    this.#isConnected = false;
    this.#outstanding?.abort();
  }

  /** Resolves when everything requested so far has ended in some way; rejects when the signal aborts. */
  settled(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(canceledBy(signal));
    if (!this.#outstanding) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#waiters.delete(done);
        reject(canceledBy(signal));
      };
      const done = () => {
        signal.removeEventListener('abort', abort);
        resolve();
      };
      signal.addEventListener('abort', abort, { once: true });
      this.#waiters.add(done);
    });
  }

  /** The answer will not come on this stream: the message is repeated on the next one, within the same time-out. */
  #interrupt(): void {
    if (this.#outstanding) this.#isDirty = true;
  }

  #pump(): void {
    const { nodeId, send, logger } = this.#options;
    if (!this.#isDirty || this.#outstanding || !this.isReady) return;
    this.#isDirty = false;
    try {
      send();
    } catch (error) {
      logger.warn(
        { nodeId, error: asAosError(error).message },
        'a node was not told what to run; it is told again when it reports',
      );
      this.#settle('failed');
      return;
    }
    this.#await();
  }

  #await(): void {
    const { nodeId, clock, answerTimeoutMs, logger } = this.#options;
    const outstanding = new AbortController();
    this.#outstanding = outstanding;
    clock.sleep(answerTimeoutMs, outstanding.signal).then(
      () => {
        logger.warn({ nodeId, answerTimeoutMs }, 'a node did not answer');
        this.#outstanding = undefined;
        if (this.#isDirty && this.isReady) this.#pump();
        else this.#settle('timeout');
      },
      () => logger.trace({ nodeId }, 'no longer waiting for an answer'),
    );
  }

  #settle(outcome: Outcome): void {
    this.#options.onSettled(outcome);
    for (const done of this.#waiters) done();
    this.#waiters.clear();
  }
}
