/**
 * Blobs for SMs over plain HTTP (spec/cm.md 3.11, spec/decisions.md CM-26, 7.2): GET and HEAD of `/blobs/<alg>/<hex>`
 * with ranges, nothing else. The content is not secret on the unit and every SM checks its digest.
 */
import { open, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AosError, asAosError, type Digest, type Logger } from '../../core/index.ts';

const PATH = /^\/blobs\/(sha256)\/([0-9a-f]{64})$/;
const MAX_CONNECTIONS = 256;
const PIECE_BYTES = 256 * 1024;

export interface BlobServerOptions {
  /** `host:port`; a loopback address listens there alone, every other host on all interfaces. */
  readonly host: string;
  readonly port: number;
  readonly blobPath: (digest: Digest) => Promise<string>;
  /** Whether the blob is of an item of this unit. */
  readonly isKnown: (digest: Digest) => Promise<boolean>;
  readonly logger: Logger;
}

export class BlobServer {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Rejects with the system's error when the port is taken. */
  static async open(options: BlobServerOptions): Promise<BlobServer> {
    const server = createServer((request, response) => {
      answer(request, response, options).catch((error) => {
        options.logger.debug({ url: request.url, error: asAosError(error).message }, 'a blob was not sent to its end');
        response.destroy();
      });
    });
    server.maxConnections = MAX_CONNECTIONS;
    const host = options.host.startsWith('127.') ? options.host : '0.0.0.0';
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port: options.port }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    return new BlobServer(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

async function answer(request: IncomingMessage, response: ServerResponse, options: BlobServerOptions): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { Allow: 'GET, HEAD' }).end();
    return;
  }
  const found = await find(request.url ?? '', options);
  if (!found) {
    response.writeHead(404).end();
    return;
  }
  const { path, size, mtime, digest } = found;
  const headers = {
    // Twins look for exactly this spelling.
    'Accept-Ranges': 'bytes',
    'Content-Type': 'application/octet-stream',
    'Last-Modified': mtime.toUTCString(),
    ETag: `"${digest}"`,
  };
  const range = parseRange(request.headers.range, size);
  if (range === 'unsatisfiable') {
    response.writeHead(416, { ...headers, 'Content-Range': `bytes */${size}` }).end();
    return;
  }
  const { start, end } = range ?? { start: 0, end: size - 1 };
  response.writeHead(range ? 206 : 200, {
    ...headers,
    'Content-Length': end - start + 1,
    ...(range && { 'Content-Range': `bytes ${start}-${end}/${size}` }),
  });
  if (request.method === 'HEAD' || size === 0) response.end();
  else await send(path, { start, end }, response);
}

interface Range {
  /** First and last byte, both inclusive. */
  readonly start: number;
  readonly end: number;
}

/** From one buffer, again and again: fresh ones for each piece of a large blob would be garbage of many megabytes. */
async function send(path: string, { start, end }: Range, response: ServerResponse): Promise<void> {
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, end - start + 1));
    for (let at = start; at <= end; ) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.byteLength, end - at + 1), at);
      if (bytesRead === 0) throw new AosError('failed', `${path} ends at byte ${at}, expected ${end + 1} bytes`);
      await written(response, buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
    response.end();
  } finally {
    await file.close();
  }
}

/** Resolves when the piece is out of our hands, and may be changed. */
function written(response: ServerResponse, piece: Uint8Array): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const gone = () => reject(new AosError('canceled', 'the connection was closed'));
  if (response.destroyed) gone();
  response.once('close', gone);
  response.write(piece, (error) => (error ? reject(error) : resolve()));
  return promise.finally(() => response.off('close', gone));
}

async function find(
  url: string,
  { blobPath, isKnown }: BlobServerOptions,
): Promise<
  { readonly path: string; readonly size: number; readonly mtime: Date; readonly digest: Digest } | undefined
> {
  const match = PATH.exec(url.split('?', 1)[0]!);
  if (!match) return undefined;
  const digest = `${match[1]}:${match[2]}`;
  if (!(await isKnown(digest))) return undefined;
  try {
    const path = await blobPath(digest);
    const { size, mtime } = await stat(path);
    return { path, size, mtime, digest };
  } catch (error) {
    if (asAosError(error).code === 'notFound') return undefined;
    throw error;
  }
}

/** One range of bytes, both ends inclusive. What is no such range counts as none, as HTTP wants it. */
export function parseRange(header: string | undefined, size: number): Range | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return undefined;
  const [, first, last] = match;
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size - 1 };
  }
  const start = Number(first);
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (start >= size) return 'unsatisfiable';
  return end < start ? undefined : { start, end };
}
