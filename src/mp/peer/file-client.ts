/** Fetches files through the proxy, from any offset (spec/decisions.md 3.2). */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { sm } from '../../api/contracts.ts';
import { readErrorMessage } from '../../api/index.ts';
import { AosError, asAosError, canceledBy } from '../../core/index.ts';
import type { MessageChannel } from '../wire/index.ts';

/**
 * What may wait for a slow reader. When more has come, the download is ended and begun again later: the protocol cannot
 * stop one file alone, and the node's other traffic must not wait for its disk.
 */
const MAX_WAITING_BYTES = 4 * 1024 * 1024;

/** Thrown when the channel broke: the rest can be had when it is back. */
export const LINK_LOST = { linkLost: true } as const;

export interface FileClientOptions {
  readonly open: () => Promise<MessageChannel>;
  readonly nodeId: string;
}

type Content = sm.DownloadContent;

/** One request, seen by its reader. */
class Request {
  readonly #pieces: Content[] = [];
  readonly #onFull: () => void;
  #waitingBytes = 0;
  #error: AosError | undefined;
  #wake: (() => void) | undefined;

  constructor(onFull: () => void) {
    this.#onFull = onFull;
  }

  push(content: Content): void {
    this.#pieces.push(content);
    this.#waitingBytes += content.data.length;
    this.#wake?.();
    if (this.#waitingBytes > MAX_WAITING_BYTES) this.#onFull();
  }

  fail(error: AosError): void {
    this.#error ??= error;
    this.#wake?.();
  }

  /** The next piece, or undefined when `isOver` and all were taken. */
  async next(isOver: () => boolean): Promise<Content | undefined> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece) {
        this.#waitingBytes -= piece.data.length;
        return piece;
      }
      if (this.#error) throw this.#error;
      if (isOver()) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

export class FileClient {
  readonly #options: FileClientOptions;
  readonly #requests = new Map<bigint, Request>();
  #channel: Promise<MessageChannel> | undefined;
  #lastId = 0n;

  constructor(options: FileClientOptions) {
    this.#options = options;
  }

  /** The bytes of a file from `offset` on. Throws the proxy's error, or `failed` with `LINK_LOST`. */
  async *read(url: string, offset: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    for (let position = offset; ; ) {
      let isComplete = false;
      for await (const content of this.#request(url, position, signal)) {
        if (Number(content.offset) !== position) {
          throw new AosError('invalidChecksum', `a piece is for offset ${content.offset}, expected ${position}`);
        }
        position += content.data.length;
        if (content.data.length > 0) yield content.data;
        isComplete = content.state === sm.DownloadState.COMPLETED;
      }
      if (isComplete) return;
    }
  }

  /** Pieces until the file is complete, or until the reader was too slow and the request was ended. */
  async *#request(url: string, offset: number, signal: AbortSignal): AsyncGenerator<Content> {
    const channel = await this.#open();
    this.#lastId += 1n;
    const requestId = this.#lastId;
    let isOver = false;
    let isDone = false;
    const cancel = () =>
      sendOn(channel, { case: 'cancelDownload', value: create(sm.CancelDownloadSchema, { requestId }) });
    const request = new Request(() => {
      isOver = true;
      this.#requests.delete(requestId);
      // A channel that is closed has forgotten the request.
      cancel().catch(() => undefined);
    });
    this.#requests.set(requestId, request);
    const onAbort = () => request.fail(canceledBy(signal));
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      if (signal.aborted) onAbort();
      const value = create(sm.DownloadRequestSchema, { url, requestId, offset: BigInt(offset) });
      await sendOn(channel, { case: 'downloadRequest', value });
      for (;;) {
        const content = await request.next(() => isOver);
        if (!content) return;
        if (content.state === sm.DownloadState.FAILED) {
          isDone = true;
          throw readErrorMessage(content.error) ?? new AosError('failed', 'the proxy could not fetch the file');
        }
        if (content.state === sm.DownloadState.CANCELED) throw new AosError('canceled', 'the proxy ended the download');
        isDone = content.state === sm.DownloadState.COMPLETED;
        yield content;
        if (isDone) return;
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#requests.delete(requestId);
      // A channel that is closed has forgotten the request.
      if (!isDone && !isOver) await cancel().catch(() => undefined);
    }
  }

  async #open(): Promise<MessageChannel> {
    this.#channel ??= this.#begin();
    try {
      return await this.#channel;
    } catch (error) {
      this.#channel = undefined;
      throw lost(error);
    }
  }

  async #begin(): Promise<MessageChannel> {
    const channel = await this.#options.open();
    await sendOn(channel, { case: 'nodeId', value: this.#options.nodeId });
    void this.#take(channel);
    return channel;
  }

  /** Never rejects. */
  async #take(channel: MessageChannel): Promise<void> {
    try {
      for await (const body of channel.messages()) {
        const { case: kind, value } = fromBinary(sm.ProxyIncomingMessagesSchema, body).ProxyIncomingMessage;
        if (kind === 'downloadContent') this.#requests.get(value.requestId)?.push(value);
      }
    } catch (error) {
      channel.close(asAosError(error));
    }
    this.#channel = undefined;
    for (const request of this.#requests.values()) request.fail(lost(channel.closed.reason));
  }
}

function lost(reason: unknown): AosError {
  return new AosError('failed', `the link to the proxy broke: ${asAosError(reason).message}`, { fields: LINK_LOST });
}

function sendOn(channel: MessageChannel, message: sm.ProxyOutgoingMessages['ProxyOutgoingMessage']): Promise<void> {
  const value = create(sm.ProxyOutgoingMessagesSchema, { ProxyOutgoingMessage: message });
  return channel.send(toBinary(sm.ProxyOutgoingMessagesSchema, value)).catch((error) => {
    throw lost(error);
  });
}
