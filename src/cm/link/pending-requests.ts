/** Requests to the cloud whose answers are waited for (spec/cloud-protocol.md 6.5). */
import { AosError, canceledBy } from '../../core/index.ts';
import type { CloudMessage, CloudMessageType, UnitMessageType } from '../../protocol/index.ts';

/** Which message is the answer to which; all others are handled by kind. */
const ANSWERS: { readonly [T in CloudMessageType]?: UnitMessageType } = { blobUrls: 'requestBlobUrls' };

interface Pending {
  readonly messageType: UnitMessageType;
  readonly resolve: (answer: CloudMessage | undefined) => void;
}

export class PendingRequests {
  readonly #pending = new Map<string, Pending>();

  /**
   * The answer with this correlation id; undefined when the session has ended, and with it the hope for an answer. Throws
   * `timeout`, or what the signal was aborted with.
   */
  async answerTo(
    request: { readonly messageType: UnitMessageType; readonly correlationId: string },
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<CloudMessage | undefined> {
    const { messageType, correlationId } = request;
    let timer: NodeJS.Timeout | undefined;
    let abort: (() => void) | undefined;
    try {
      return await new Promise<CloudMessage | undefined>((resolve, reject) => {
        this.#pending.set(correlationId, { messageType, resolve });
        timer = setTimeout(
          () => reject(new AosError('timeout', `the cloud did not answer ${messageType} within ${timeoutMs} ms`)),
          timeoutMs,
        );
        abort = () => reject(canceledBy(signal));
        if (signal.aborted) abort();
        else signal.addEventListener('abort', abort, { once: true });
      });
    } finally {
      clearTimeout(timer);
      if (abort) signal.removeEventListener('abort', abort);
      this.#pending.delete(correlationId);
    }
  }

  /** Answers belong to the session of their request. */
  sessionEnded(): void {
    for (const { resolve } of this.#pending.values()) resolve(undefined);
  }

  /** `taken` by who asked, `late` when nobody waits for it any more, `none` when it is no answer at all. */
  answer(message: CloudMessage): 'taken' | 'late' | 'none' {
    const asked = ANSWERS[message.messageType];
    if (asked === undefined || !('correlationId' in message)) return 'none';
    const pending = this.#pending.get(message.correlationId ?? '');
    if (pending?.messageType !== asked) return 'late';
    pending.resolve(message);
    return 'taken';
  }
}
