/** One `RegisterNode` stream, seen from the main node: requests down, answers up (spec/iam.md 14.2). */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { iam } from '../../api/contracts.ts';
import { AosError, asAosError, canceledBy, Mailbox } from '../../core/index.ts';

export type NodeRequest = NonNullable<MessageInitShape<typeof iam.IAMIncomingMessagesSchema>['IAMIncomingMessage']>;
export type NodeAnswer = iam.IAMOutgoingMessages['IAMOutgoingMessage'];
export type AnswerKind = Exclude<NodeAnswer['case'], undefined | 'nodeInfo'>;
export type AnswerOf<K extends AnswerKind> = Extract<NodeAnswer, { case: K }>['value'];

interface Waiter {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: AosError) => void;
  /** Nobody waits any more; the answer that belongs to it is still to be taken. */
  abandoned: boolean;
}

const MAX_QUEUED_REQUESTS = 64;

/** Thrown when a request certainly did not reach the node, so that it may be repeated. */
export const NOT_REACHED = { reached: false } as const;

export class NodeStream {
  readonly #outbox = new Mailbox<MessageInitShape<typeof iam.IAMIncomingMessagesSchema>>(MAX_QUEUED_REQUESTS);
  readonly #waiters = new Map<AnswerKind, Waiter[]>();

  /** True when it has ended; what the node still says on it counts no more. */
  get closed(): boolean {
    return this.#outbox.closed;
  }

  /** What the node is to be sent. */
  get requests(): AsyncIterable<MessageInitShape<typeof iam.IAMIncomingMessagesSchema>> {
    return this.#outbox;
  }

  /**
   * Sends a request and waits for the next answer of its kind. Throws `timeout`, `canceled`, or `failed` when the
   * stream ends under it.
   */
  async request<K extends AnswerKind>(
    request: NodeRequest,
    kind: K,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<AnswerOf<K>> {
    if (this.#outbox.closed) throw streamClosed(NOT_REACHED);
    if (signal.aborted) throw canceledBy(signal);
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    const answer = new Promise<unknown>((resolve, reject) => {
      const waiter: Waiter = { resolve, reject, abandoned: false };
      // Waiting begins before the request leaves: an answer cannot be too fast.
      const queue = this.#waiters.get(kind) ?? [];
      this.#waiters.set(kind, [...queue, waiter]);
      bounded.addEventListener('abort', () => {
        waiter.abandoned = true;
        const why = canceledBy(bounded);
        reject(why.code === 'timeout' ? new AosError('timeout', 'response timeout', { cause: why }) : why);
      });
    });
    // It may be settled before it is awaited, when the outbox is full.
    answer.catch(() => undefined);
    try {
      this.#outbox.push({ IAMIncomingMessage: request });
    } catch (error) {
      this.#waiters.get(kind)?.pop();
      throw new AosError('noMemory', asAosError(error).message, { cause: error, fields: NOT_REACHED });
    }
    return (await answer) as AnswerOf<K>;
  }

  /** Takes an answer of the node. False when nobody had asked. */
  accept(answer: NodeAnswer): boolean {
    if (answer.case === undefined || answer.case === 'nodeInfo') return false;
    const queue = this.#waiters.get(answer.case) ?? [];
    const waiter = queue.shift();
    if (!waiter) return false;
    if (!waiter.abandoned) waiter.resolve(answer.value);
    return !waiter.abandoned;
  }

  /** Ends the stream; whoever waits hears of it. */
  close(): void {
    this.#outbox.close();
    for (const waiter of [...this.#waiters.values()].flat()) {
      if (!waiter.abandoned) waiter.reject(streamClosed());
    }
    this.#waiters.clear();
  }
}

function streamClosed(fields: Readonly<Record<string, unknown>> = {}): AosError {
  return new AosError('failed', 'the stream of the node was closed', { fields });
}

/** True when the request did not reach the node. */
export function wasNotReached(error: unknown): boolean {
  return asAosError(error).fields.reached === false;
}
