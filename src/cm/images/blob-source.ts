/** Where blobs are, as the cloud tells (spec/cm.md 3.6 step 3, spec/decisions.md 8.2). */
import { randomUUID } from 'node:crypto';
import { AosError, Backoff, type Clock, type Digest, isAosError, type Logger } from '../../core/index.ts';
import type { BlobInfo, BlobUrls, RequestBlobUrls } from '../../protocol/index.ts';
import { IMAGES } from '../numbers.ts';

export interface BlobSource {
  /**
   * Asks until there is an answer. Throws `notFound` when the cloud does not have the blob. `bases` are blobs that are on
   * the unit and may be like it.
   */
  locate(digest: Digest, signal: AbortSignal, bases?: readonly Digest[]): Promise<BlobInfo>;
}

/** One question and its answer; rejects with `timeout` when none comes. */
export type AskBlobUrls = (request: RequestBlobUrls, signal: AbortSignal) => Promise<BlobUrls>;

export class CloudBlobSource implements BlobSource {
  readonly #ask: AskBlobUrls;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #offersDeltas: () => boolean;

  /** Only a cloud that offers deltas is told what there is. */
  constructor(ask: AskBlobUrls, clock: Clock, logger: Logger, offersDeltas: () => boolean = () => false) {
    this.#ask = ask;
    this.#clock = clock;
    this.#logger = logger;
    this.#offersDeltas = offersDeltas;
  }

  async locate(digest: Digest, signal: AbortSignal, bases: readonly Digest[] = []): Promise<BlobInfo> {
    const backoff = new Backoff({ firstMs: IMAGES.blobUrlsRetryFirstMs, maxMs: IMAGES.blobUrlsRetryMaxMs });
    for (;;) {
      const answer = await this.#askOnce(digest, bases, signal);
      if (answer) {
        const found = answer.items.find((item) => item.digest === digest) ?? answer.items[0];
        if (found) return found;
        throw new AosError('notFound', `the cloud does not have blob ${digest}`);
      }
      await this.#clock.sleep(backoff.next(), signal);
    }
  }

  /** A new correlation id each time: a late answer to an older question is nobody's. */
  async #askOnce(digest: Digest, bases: readonly Digest[], signal: AbortSignal): Promise<BlobUrls | undefined> {
    try {
      const correlationId = randomUUID();
      const question = { messageType: 'requestBlobUrls', correlationId, digests: [digest] } as const;
      const takesDeltas = bases.length > 0 && this.#offersDeltas();
      return await this.#ask(takesDeltas ? { ...question, bases } : question, signal);
    } catch (error) {
      if (signal.aborted || isAosError(error, 'canceled')) throw error;
      this.#logger.info({ digest, error: String(error) }, 'the cloud did not say where a blob is; it is asked again');
      return undefined;
    }
  }
}
