/** Files that the proxy fetches for its peer and hands on piece by piece (spec/decisions.md 3.2). */
import { create } from '@bufbuild/protobuf';
import { sm } from '../../api/contracts.ts';
import { errorMessage } from '../../api/index.ts';
import { AosError, asAosError, Backoff, type Clock, type Logger } from '../../core/index.ts';
import { describeUrl, type HttpClient } from '../../storage/index.ts';
import {
  DOWNLOAD_CONNECT_TIMEOUT_MS,
  DOWNLOAD_IDLE_TIMEOUT_MS,
  DOWNLOAD_PAUSE_FIRST_MS,
  DOWNLOAD_PAUSE_MAX_MS,
  DOWNLOAD_PIECE_BYTES,
  DOWNLOAD_TRIES,
  MAX_RUNNING_DOWNLOADS,
  MAX_WAITING_DOWNLOADS,
} from '../numbers.ts';
import { type KnownUrls, reachableFromProxy } from './known-urls.ts';

export interface DownloadsOptions {
  readonly http: HttpClient;
  readonly urls: KnownUrls;
  /** Host of the CM, in place of a loopback host. */
  readonly cmHost: string;
  /** PEM of further authorities of file servers. */
  readonly ca: string;
  /** Sends to the peer, in turn with others; resolves when there is room. */
  readonly send: (content: sm.DownloadContent) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Download {
  readonly url: string;
  readonly requestId: bigint;
  offset: number;
  readonly abort: AbortController;
}

/** Why a download was ended from outside. */
const REPLACED = new AosError('canceled', 'replaced by a newer request');
const CANCELED = new AosError('canceled', 'canceled by the peer');

export class Downloads {
  readonly #options: DownloadsOptions;
  readonly #running = new Map<bigint, Download>();
  #waiting: Download[] = [];
  #isClosed = false;

  constructor(options: DownloadsOptions) {
    this.#options = options;
  }

  async request({ url, requestId, offset }: sm.DownloadRequest): Promise<void> {
    this.#running.get(requestId)?.abort.abort(REPLACED);
    this.#running.delete(requestId);
    this.#waiting = this.#waiting.filter((other) => other.requestId !== requestId);
    const download = { url, requestId, offset: Number(offset), abort: new AbortController() };
    try {
      this.#options.urls.check(url);
      if (!Number.isSafeInteger(download.offset)) throw new AosError('invalidArgument', 'impossible offset');
      if (this.#waiting.length >= MAX_WAITING_DOWNLOADS) {
        throw new AosError('noMemory', `${MAX_WAITING_DOWNLOADS} downloads wait already`);
      }
    } catch (error) {
      await this.#fail(download, error);
      return;
    }
    this.#waiting.push(download);
    this.#startNext();
  }

  async cancel(requestId: bigint): Promise<void> {
    const running = this.#running.get(requestId);
    const waiting = this.#waiting.find((download) => download.requestId === requestId);
    this.#waiting = this.#waiting.filter((download) => download !== waiting);
    const canceled = running ?? waiting;
    if (!canceled) return;
    canceled.abort.abort(CANCELED);
    this.#running.delete(requestId);
    await this.#send(canceled, new Uint8Array(), sm.DownloadState.CANCELED);
    this.#startNext();
  }

  /** Ends all without a word: the channel is gone. */
  close(): void {
    this.#isClosed = true;
    this.#waiting = [];
    for (const { abort } of this.#running.values()) abort.abort(CANCELED);
    this.#running.clear();
  }

  #startNext(): void {
    while (this.#running.size < MAX_RUNNING_DOWNLOADS && !this.#isClosed) {
      const download = this.#waiting.shift();
      if (!download) return;
      this.#running.set(download.requestId, download);
      void this.#run(download).finally(() => {
        if (this.#running.get(download.requestId) === download) this.#running.delete(download.requestId);
        this.#startNext();
      });
    }
  }

  /** Never rejects. */
  async #run(download: Download): Promise<void> {
    const { signal } = download.abort;
    const backoff = new Backoff({ firstMs: DOWNLOAD_PAUSE_FIRST_MS, maxMs: DOWNLOAD_PAUSE_MAX_MS });
    let tries = 0;
    while (!signal.aborted) {
      const before = download.offset;
      try {
        await this.#fetch(download, signal);
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (download.offset > before) {
          tries = 0;
          backoff.reset();
        }
        tries += 1;
        this.#options.logger.warn(
          { url: describeUrl(new URL(download.url)), offset: download.offset, error: asAosError(error).message },
          'a download for the peer broke',
        );
        if (tries >= DOWNLOAD_TRIES) {
          await this.#fail(download, error);
          return;
        }
        // The abort is looked at by the loop.
        await this.#options.clock.sleep(backoff.next(), signal).catch(() => undefined);
      }
    }
  }

  async #fetch(download: Download, signal: AbortSignal): Promise<void> {
    const { http, urls, cmHost, ca } = this.#options;
    const url = reachableFromProxy(urls.check(download.url), cmHost);
    const { offset } = download;
    const answer = await http.get(url, {
      headers: { 'accept-encoding': 'identity', ...(offset > 0 && { range: `bytes=${offset}-` }) },
      caPem: ca === '' ? [] : [ca],
      connectTimeoutMs: DOWNLOAD_CONNECT_TIMEOUT_MS,
      idleTimeoutMs: DOWNLOAD_IDLE_TIMEOUT_MS,
      signal,
    });
    try {
      const skip = bytesToSkip(answer.status, answer.headers['content-range'], offset);
      if (skip === 'complete') await this.#send(download, new Uint8Array(), sm.DownloadState.COMPLETED);
      else await this.#handOn(download, answer.chunks, skip, signal);
    } finally {
      answer.drop();
    }
  }

  /** The last piece is held back until it is known to be the last. */
  async #handOn(download: Download, chunks: AsyncIterable<Buffer>, skip: number, signal: AbortSignal): Promise<void> {
    let toSkip = skip;
    let held: Buffer = Buffer.alloc(0);
    for await (const chunk of chunks) {
      const fresh = chunk.subarray(Math.min(toSkip, chunk.length));
      toSkip -= chunk.length - fresh.length;
      held = held.length === 0 ? fresh : Buffer.concat([held, fresh]);
      while (held.length > DOWNLOAD_PIECE_BYTES) {
        const piece = held.subarray(0, DOWNLOAD_PIECE_BYTES);
        held = held.subarray(DOWNLOAD_PIECE_BYTES);
        await this.#send(download, piece, sm.DownloadState.IN_PROGRESS, signal);
      }
    }
    if (toSkip > 0) throw new AosError('outOfRange', 'the file ends before the offset');
    await this.#send(download, held, sm.DownloadState.COMPLETED, signal);
  }

  async #send(
    download: Download,
    data: Uint8Array,
    state: sm.DownloadState,
    signal?: AbortSignal,
    error?: unknown,
  ): Promise<void> {
    if (signal?.aborted || this.#isClosed) return;
    const { requestId, offset } = download;
    const content = create(sm.DownloadContentSchema, {
      requestId,
      offset: BigInt(offset),
      data: data as Uint8Array<ArrayBuffer>,
      state,
      ...(error === undefined ? {} : { error: errorMessage(error) }),
    });
    download.offset += data.length;
    try {
      await this.#options.send(content);
    } catch {
      // The channel was closed: the peer asks again when it is back.
      download.abort.abort(CANCELED);
    }
  }

  async #fail(download: Download, error: unknown): Promise<void> {
    await this.#send(download, new Uint8Array(), sm.DownloadState.FAILED, undefined, error);
  }
}

/** How many bytes of the answer the peer has already. Throws `runtime` for an answer that is no such file. */
function bytesToSkip(status: number, contentRange: string | undefined, offset: number): number | 'complete' {
  if (status === 200) return offset;
  if (status === 206 && Number(/^bytes (\d+)-/.exec(contentRange ?? '')?.[1]) === offset) return 0;
  if (status === 416 && offset > 0 && Number(/^bytes \*\/(\d+)$/.exec(contentRange ?? '')?.[1]) === offset) {
    return 'complete';
  }
  throw new AosError('runtime', `file server answers ${status}`, { exitCode: status });
}
