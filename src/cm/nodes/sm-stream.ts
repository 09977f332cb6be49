/** One stream of a service manager: what goes out, and who waits for which answer (spec/cm.md 7.2). */
import { create } from '@bufbuild/protobuf';
import { sm } from '../../api/contracts.ts';
import { AosError, type Clock, canceledBy, Mailbox } from '../../core/index.ts';
import { NODES } from '../numbers.ts';
import type { OutgoingMessage } from './write-messages.ts';

interface Waiter<T> {
  resolve(value: T): void;
  reject(error: AosError): void;
}

/** Requests without ids: answers belong to the oldest that waits, and only one is asked at a time. */
class Questions<T> {
  readonly #clock: Clock;
  readonly #waiters: Waiter<T>[] = [];
  #last: Promise<unknown> = Promise.resolve();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Sends when its turn has come; `timeout` "response timeout" when no answer arrives in time. */
  ask(send: () => void, signal: AbortSignal): Promise<T> {
    const answer = this.#last.then(() => this.#askNow(send, signal));
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  async #askNow(send: () => void, signal: AbortSignal): Promise<T> {
    if (signal.aborted) throw canceledBy(signal);
    const done = new AbortController();
    let waiter: Waiter<T> | undefined;
    try {
      const answered = new Promise<T>((resolve, reject) => {
        waiter = { resolve, reject };
        this.#waiters.push(waiter);
      });
      const late = this.#clock.sleep(NODES.requestTimeoutMs, AbortSignal.any([signal, done.signal])).then(() => {
        throw new AosError('timeout', 'response timeout');
      });
      late.catch(() => undefined);
      answered.catch(() => undefined);
      send();
      return await Promise.race([answered, late]);
    } finally {
      done.abort();
      const index = this.#waiters.indexOf(waiter!);
      if (index >= 0) this.#waiters.splice(index, 1);
    }
  }

  /** False when nobody asked. */
  answer(value: T): boolean {
    const waiter = this.#waiters.shift();
    waiter?.resolve(value);
    return waiter !== undefined;
  }

  fail(error: AosError): void {
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }
}

export class SmStream {
  readonly outbox = new Mailbox<sm.SMIncomingMessages>(NODES.maxQueuedPerStream);
  /** Known from the first `sm_info` on. */
  nodeId: string | undefined;
  readonly configQuestions: Questions<sm.NodeConfigStatus>;
  readonly averageQuestions: Questions<sm.AverageMonitoring>;

  constructor(clock: Clock) {
    this.configQuestions = new Questions(clock);
    this.averageQuestions = new Questions(clock);
  }

  /** Throws `failed` "failed to send message" when the stream has ended or takes nothing more. */
  send(message: OutgoingMessage): void {
    if (this.outbox.closed) throw new AosError('failed', 'failed to send message');
    try {
      this.outbox.push(create(sm.SMIncomingMessagesSchema, { SMIncomingMessage: message }));
    } catch (error) {
      throw new AosError('failed', 'failed to send message', { cause: error });
    }
  }

  /** Ends the stream; whoever waits for an answer gets an error. */
  close(): void {
    this.outbox.close();
    const gone = new AosError('failed', 'the service manager went away');
    this.configQuestions.fail(gone);
    this.averageQuestions.fail(gone);
  }
}
