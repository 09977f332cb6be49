/** What happens with a frame of the cloud (spec/cloud-protocol.md 6, 10; spec/decisions.md C-14 … C-17). */
import { asAosError, type Logger } from '../../core/index.ts';
import {
  type CloudMessage,
  decodeCloudMessage,
  type Envelope,
  type Nack,
  normalizeTime,
  peekTxn,
} from '../../protocol/index.ts';
import type { Inbox, RecentTransactions } from './inbox.ts';
import type { LinkNumbers } from './model.ts';
import type { Outbox } from './outbox.ts';
import type { PendingRequests } from './pending-requests.ts';

export interface ReceiverOptions {
  readonly systemId: string;
  readonly outbox: Outbox;
  readonly inbox: Inbox;
  readonly requests: PendingRequests;
  readonly recent: RecentTransactions;
  readonly numbers: LinkNumbers;
  readonly logger: Logger;
  readonly monotonicMs: () => number;
  /** Tells people of what the cloud says in vain. */
  readonly onRefusal: (what: string, because: string) => void;
}

export class Receiver {
  readonly #options: ReceiverOptions;

  constructor(options: ReceiverOptions) {
    this.#options = options;
  }

  /**
   * Takes a frame. Answers the txn that is to be acknowledged, or undefined for silence: receipts, what cannot be read,
   * and what cannot be taken now. A handler is never waited for.
   */
  receive(frame: Buffer): string | undefined {
    const { systemId, outbox, logger, onRefusal } = this.#options;
    let envelope: Envelope<CloudMessage>;
    try {
      envelope = decodeCloudMessage(frame, { systemId });
    } catch (error) {
      const because = asAosError(error).message;
      logger.warn({ txn: peekTxn(frame), bytes: frame.length, error: because }, 'a message of the cloud is refused');
      onRefusal('refused a message of the cloud', because);
      return undefined;
    }
    const { header, data } = envelope;
    switch (data.messageType) {
      case 'ack':
        outbox.forget(header.txn);
        return undefined;
      case 'nack':
        this.#postpone(header.txn, data);
        return undefined;
      default:
        return this.#accept(envelope);
    }
  }

  #postpone(txn: string, { retryAfter }: Nack): void {
    const { outbox, numbers, monotonicMs } = this.#options;
    const wantedMs = Math.max(0, retryAfter ?? numbers.defaultRetryAfterMs);
    outbox.postpone(txn, Math.min(wantedMs, numbers.reconnectMaxMs), monotonicMs());
  }

  #accept({ header, data, refused, warnings }: Envelope<CloudMessage>): string | undefined {
    const { inbox, requests, recent, logger, onRefusal } = this.#options;
    const { txn } = header;
    const about = { messageType: data.messageType, txn };
    if (txn !== '' && recent.has(txn)) {
      logger.debug(about, 'a message of the cloud came again; it was taken before');
      return txn;
    }
    for (const { list, index, error } of refused) {
      logger.warn({ ...about, list, index, error: error.message }, 'an entry of a message is refused');
      onRefusal(`refused an entry of ${data.messageType}`, error.message);
    }
    if (warnings.length > 0) logger.debug({ ...about, warnings }, 'unknown members are ignored');
    const answer = requests.answer(data);
    if (answer === 'late') logger.debug(about, 'an answer came too late');
    if (answer === 'none' && !inbox.deliver(data, { txn, refused, createdAt: normalizeTime(header.createdAt) })) {
      logger.warn(about, 'too many messages of this kind wait; the cloud must send it again');
      return undefined;
    }
    if (txn !== '') recent.add(txn);
    return txn;
  }
}
