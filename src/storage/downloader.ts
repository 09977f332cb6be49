/** Downloads over HTTP(S) and from files (spec/cm.md 3.7, spec/sm.md 3.9, spec/decisions.md C-04, C-38, CM-23, 8.2). */
import { stat } from 'node:fs/promises';
import {
  AosError,
  asAosError,
  Backoff,
  type Clock,
  canceledBy,
  isAosError,
  systemClock,
  throwIfCanceled,
} from '../core/index.ts';
import { readChunks } from './chunks.ts';
import { describeUrl, HttpClient } from './http-get.ts';
import { type BytesListener, type HttpLimits, receive } from './http-receive.ts';
import { LocalFault, local } from './local-fault.ts';
import { forgetDownload, type Intake, PartialFile } from './partial-file.ts';

/** Tries of one `download`, each over all addresses in turn, and the pauses between (spec/decisions.md 8.2). */
const TRIES = 3;
const PAUSE_FIRST_MS = 1000;
const PAUSE_MAX_MS = 5000;
const CONNECT_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 60_000;
/** Nothing is endless: the largest file that is taken when its size is not known. */
const MAX_UNKNOWN_SIZE_BYTES = 64 * 1024 ** 3;

/** What happens to a download; `progress` comes with each piece, so its listener decides how often it matters. */
export interface DownloadProgress {
  readonly kind: 'started' | 'progress' | 'interrupted' | 'finished';
  /** Without query and password. */
  readonly url: string;
  /** Bytes that have arrived, those of earlier attempts included. */
  readonly downloadedBytes: number;
  /** Bytes that were there before this request. */
  readonly resumedFromBytes: number;
  /** Size of the whole file as far as it is known. */
  readonly totalBytes?: number | undefined;
  /** Why it was interrupted. */
  readonly error?: AosError;
}

export interface DownloadRequest {
  /** Tried in order, then from the first again. */
  readonly urls: readonly string[];
  /** Grows with each attempt and stays when the download fails. Its directory must exist. */
  readonly toFile: string;
  /** Says which content is wanted; a partial file of another one is not continued. */
  readonly contentId?: string | undefined;
  /** What is made of the bytes before they are written. */
  readonly intake?: Intake | undefined;
  /** A server that has more or less is refused with `invalidChecksum`. */
  readonly expectedSizeBytes?: number | undefined;
  /** Limit for a file of unknown size. */
  readonly maxSizeBytes?: number | undefined;
  /**
   * Asked before the first byte is written when the server says how large the whole file is, which then may be larger than
   * `maxSizeBytes`. Throwing `noMemory` ends the download.
   */
  readonly admit?: ((totalBytes: number) => Promise<void>) | undefined;
  /** Certificate authorities beside those of the system. */
  readonly caPem?: readonly string[] | undefined;
  readonly signal: AbortSignal;
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
  /** The address to be used in place of the one given. */
  readonly rewriteUrl?: ((url: string) => string) | undefined;
}

export interface DownloaderOptions {
  readonly clock?: Clock;
  readonly connectTimeoutMs?: number;
  readonly idleTimeoutMs?: number;
  readonly tries?: number;
  readonly pauseFirstMs?: number;
  readonly pauseMaxMs?: number;
}

/**
 * Fetches files, continuing where an earlier attempt of this or a former process stopped.
 *
 * It checks sizes, not content: that is for the one who knows the digest. Bytes go from the socket to the file in
 * pieces, so memory does not grow with the size.
 */
export class Downloader {
  readonly #http = new HttpClient();
  readonly #options: Required<DownloaderOptions>;
  readonly #running = new Set<string>();

  constructor(options: DownloaderOptions = {}) {
    this.#options = {
      clock: systemClock,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      idleTimeoutMs: IDLE_TIMEOUT_MS,
      tries: TRIES,
      pauseFirstMs: PAUSE_FIRST_MS,
      pauseMaxMs: PAUSE_MAX_MS,
      ...options,
    };
  }

  /**
   * Throws `canceled` at once when the signal aborts; `alreadyExist` when this file is being downloaded;
   * `noMemory` when the disk is full; `invalidChecksum` for a wrong size; `timeout`; `notFound` for a missing
   * `file://`; else `runtime`, with the HTTP status as exit code if there was one.
   */
  async download(request: DownloadRequest): Promise<{ readonly sizeBytes: number }> {
    throwIfCanceled(request.signal);
    const urls = request.urls.map((url) => parseUrl(request.rewriteUrl?.(url) ?? url));
    if (urls.length === 0) throw new AosError('invalidArgument', 'there is no address to download from');
    if (this.#running.has(request.toFile)) {
      throw new AosError('alreadyExist', `download to ${request.toFile} already in progress`);
    }
    this.#running.add(request.toFile);
    try {
      return await this.#tryAll(urls, request);
    } finally {
      this.#running.delete(request.toFile);
    }
  }

  /** Closes kept connections. Running downloads are ended by their signals. */
  close(): void {
    this.#http.close();
  }

  async #tryAll(urls: readonly URL[], request: DownloadRequest): Promise<{ readonly sizeBytes: number }> {
    const { tries, clock, pauseFirstMs, pauseMaxMs } = this.#options;
    const backoff = new Backoff({ firstMs: pauseFirstMs, maxMs: pauseMaxMs });
    for (let attempt = 1; ; attempt += 1) {
      let last: AosError | undefined;
      let isUseless = true;
      for (const url of urls) {
        const outcome = await this.#tryOne(url, request);
        if (!(outcome instanceof AosError)) return outcome;
        last = outcome;
        isUseless &&= outcome.code === 'invalidChecksum';
      }
      // Where every address has another file, the one who knows the content decides about another try.
      if (attempt >= tries || isUseless) throw last;
      await clock.sleep(backoff.next(), request.signal);
    }
  }

  /** The result, or the error after which another address may do better. */
  async #tryOne(url: URL, request: DownloadRequest): Promise<{ readonly sizeBytes: number } | AosError> {
    const file = await this.#openPartial(request);
    try {
      const sizeBytes = await this.#fetch(url, file, request);
      await forgetDownload(request.toFile);
      report(request, url, file, { kind: 'finished' });
      return { sizeBytes };
    } catch (error) {
      if (request.signal.aborted) throw canceledBy(request.signal);
      if (error instanceof LocalFault) throw asAosError(error.cause, `cannot write ${request.toFile}`);
      if (isAosError(error, 'noMemory')) throw error;
      const aos = asAosError(error);
      report(request, url, file, { kind: 'interrupted', error: aos });
      return aos;
    } finally {
      await file.close();
    }
  }

  async #openPartial(request: DownloadRequest): Promise<PartialFile> {
    try {
      const { toFile, contentId = '', intake, signal } = request;
      return await PartialFile.open(toFile, { contentId, intake, signal });
    } catch (error) {
      throwIfCanceled(request.signal);
      throw asAosError(error, `cannot open ${request.toFile}`);
    }
  }

  async #fetch(url: URL, file: PartialFile, request: DownloadRequest): Promise<number> {
    const limits = this.#limits(request);
    const onBytes: BytesListener = (kind, bytes) => report(request, url, file, { kind, ...bytes });
    if (url.protocol === 'file:') return copyFile(url, file, limits, request.signal);
    return receive(this.#http, url, file, limits, onBytes);
  }

  #limits(request: DownloadRequest): HttpLimits {
    return {
      expectedSizeBytes: request.expectedSizeBytes,
      maxSizeBytes: request.expectedSizeBytes ?? request.maxSizeBytes ?? MAX_UNKNOWN_SIZE_BYTES,
      admit: request.admit,
      caPem: request.caPem ?? [],
      connectTimeoutMs: this.#options.connectTimeoutMs,
      idleTimeoutMs: this.#options.idleTimeoutMs,
      signal: request.signal,
    };
  }
}

function parseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url && ['http:', 'https:', 'file:'].includes(url.protocol)) return url;
  const shown = url ? describeUrl(url) : text.split('?')[0];
  throw new AosError('invalidArgument', `cannot download from "${shown}", expected http://, https:// or file://`);
}

function report(
  request: DownloadRequest,
  url: URL,
  file: PartialFile,
  progress: Pick<DownloadProgress, 'kind'> & Partial<DownloadProgress>,
): void {
  request.onProgress?.({
    url: describeUrl(url),
    downloadedBytes: file.sizeBytes,
    resumedFromBytes: 0,
    totalBytes: request.expectedSizeBytes ?? file.source?.totalBytes,
    ...progress,
  });
}

/** `file:///path`, or `file://path` with the path where the host should be, as AosCore reads it. */
async function copyFile(url: URL, to: PartialFile, limits: HttpLimits, signal: AbortSignal): Promise<number> {
  const path = decodeURIComponent(url.pathname === '' || url.pathname === '/' ? url.host : url.pathname);
  const found = await stat(path).catch((error: unknown) => {
    throw asAosError(error, 'file not found');
  });
  if (!found.isFile()) throw new AosError('notFound', `file not found: ${path} is not a regular file`);
  const { expectedSizeBytes = found.size, admit } = limits;
  if (found.size !== expectedSizeBytes || (!admit && found.size > limits.maxSizeBytes)) {
    throw new AosError('invalidChecksum', `${path} has ${found.size} bytes, expected ${limits.maxSizeBytes}`);
  }
  await admit?.(found.size);
  await local(to.restart({ url: describeUrl(url), totalBytes: found.size }));
  for await (const chunk of readChunks(path, signal)) await local(to.append(chunk as Buffer));
  return to.sizeBytes;
}
