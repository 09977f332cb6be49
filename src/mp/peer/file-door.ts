/** Serves blobs to the local service manager by HTTP, out of downloads over the proxy. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseAddress } from '../../api/index.ts';
import { AosError, asAosError, type Clock, type Logger } from '../../core/index.ts';

export interface FileDoorOptions {
  readonly listen: string;
  /** The address at the main node, asked anew for each request and after each loss of the link. */
  readonly addressOf: (digest: string, signal: AbortSignal) => Promise<string>;
  readonly read: (url: string, offset: number, signal: AbortSignal) => AsyncIterable<Uint8Array>;
  readonly clock: Clock;
  readonly logger: Logger;
}

const PATH = '/blobs/';
const RETRY_MS = 1_000;
const MAX_REMEMBERED = 4096;

export class FileDoor {
  readonly #options: FileDoorOptions;
  readonly #server: Server;
  /** What local programs were told of; nothing else is fetched for them. */
  readonly #digests = new Set<string>();

  private constructor(options: FileDoorOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  static async open(options: FileDoorOptions): Promise<FileDoor> {
    const door = new FileDoor(options);
    const { host, port } = parseAddress(options.listen);
    await new Promise<void>((resolve, reject) => {
      door.#server.once('error', (error) => reject(asAosError(error, `cannot listen on ${options.listen}`)));
      door.#server.listen(port, host || '127.0.0.1', resolve);
    });
    return door;
  }

  /** The local address of a blob that the main node offers. */
  offer(digest: string): string {
    this.#digests.delete(digest);
    this.#digests.add(digest);
    const oldest = this.#digests.values().next();
    if (this.#digests.size > MAX_REMEMBERED && !oldest.done) this.#digests.delete(oldest.value);
    const { port } = this.#server.address() as AddressInfo;
    return `http://localhost:${port}${PATH}${encodeURIComponent(digest)}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Never rejects. */
  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort(new AosError('canceled', 'the reader went away')));
    const digest = digestIn(request.url ?? '');
    if (request.method !== 'GET' || digest === undefined || !this.#digests.has(digest)) {
      response.writeHead(404).end();
      return;
    }
    const offset = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    try {
      await this.#stream(digest, offset, response, gone.signal);
    } catch (error) {
      if (gone.signal.aborted) return;
      const { message } = asAosError(error);
      this.#options.logger.warn({ digest, offset, error: message }, 'a blob could not be fetched over the proxy');
      if (response.headersSent) response.destroy();
      else response.writeHead(502, { 'content-type': 'text/plain' }).end(message);
    }
  }

  /** Outlives losses of the link for as long as the reader is patient. */
  async #stream(digest: string, from: number, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const { addressOf, read, clock } = this.#options;
    for (let offset = from; ; ) {
      try {
        const url = await addressOf(digest, signal);
        for await (const data of read(url, offset, signal)) {
          begin(response, from);
          offset += data.length;
          if (!response.write(data)) await once(response, 'drain', { signal });
        }
        begin(response, from);
        response.end();
        return;
      } catch (error) {
        if (signal.aborted || asAosError(error).fields.linkLost !== true) throw error;
        await clock.sleep(RETRY_MS, signal);
      }
    }
  }
}

/** Undefined for an address that none was ever offered under. */
function digestIn(url: string): string | undefined {
  if (!url.startsWith(PATH)) return undefined;
  try {
    return decodeURIComponent(url.slice(PATH.length));
  } catch {
    // No such thing as %zz.
    return undefined;
  }
}

/**
 * The size of a file is not told over the proxy, so its end is that of the answer, and the last position of a range is
 * a number beyond every file.
 */
function begin(response: ServerResponse, offset: number): void {
  if (response.headersSent) return;
  const headers = { 'content-type': 'application/octet-stream', 'accept-ranges': 'bytes' };
  if (offset === 0) response.writeHead(200, headers);
  else response.writeHead(206, { ...headers, 'content-range': `bytes ${offset}-${Number.MAX_SAFE_INTEGER}/*` });
}
