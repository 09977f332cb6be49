/** Servers that behave in every way, and downloads from them; each test has its own directory. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { Downloader, type DownloaderOptions, type DownloadRequest } from './index.ts';

export const CONTENT = randomBytes(3_000_000);
export const TAG = '"v1"';

export let directory: string;
export let toFile: string;
export let downloader: Downloader;
export const cleanUp: (() => unknown)[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-download-'));
  toFile = join(directory, 'partial');
  downloader = new Downloader({ pauseFirstMs: 1, pauseMaxMs: 2 });
});

afterEach(async () => {
  downloader.close();
  for (const work of cleanUp.splice(0).reverse()) await work();
  await rm(directory, { recursive: true, force: true });
});

/** From now on downloads have other numbers. */
export function downloadWith(options: DownloaderOptions): void {
  downloader = new Downloader(options);
}

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

export interface Server {
  readonly url: string;
  /** `Range` and `If-Range` of each request. */
  readonly asked: (string | undefined)[][];
}

/** A server whose n-th request is answered by the n-th handler; the last one answers all further ones. */
export async function serve(...handlers: Handler[]): Promise<Server> {
  const asked: (string | undefined)[][] = [];
  const server = http.createServer((request, response) => {
    const handler = handlers[Math.min(asked.length, handlers.length - 1)]!;
    asked.push([request.headers.range, request.headers['if-range'] as string | undefined]);
    handler(request, response);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  cleanUp.push(
    () => server.closeAllConnections(),
    () => server.close(),
  );
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/blob`, asked };
}

export function rangeStart(request: IncomingMessage): number {
  return Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
}

/** A server as it should be: ranges, conditional on the tag. */
export function whole(content = CONTENT, tag = TAG): Handler {
  return (request, response) => {
    const condition = request.headers['if-range'];
    const start = condition === undefined || condition === tag ? rangeStart(request) : 0;
    if (start >= content.length) {
      response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end();
      return;
    }
    const headers = { etag: tag, 'content-length': content.length - start };
    const range = { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` };
    response.writeHead(start > 0 ? 206 : 200, start > 0 ? { ...headers, ...range } : headers);
    response.end(content.subarray(start));
  };
}

/** Sends so many bytes of what it promised and breaks the connection. */
export function breakAfter(bytes: number, content = CONTENT): Handler {
  return (request, response) => {
    const start = rangeStart(request);
    const range = { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` };
    response.writeHead(start > 0 ? 206 : 200, {
      etag: TAG,
      'content-length': content.length - start,
      ...(start > 0 ? range : {}),
    });
    response.write(content.subarray(start, start + bytes), () => response.destroy());
  };
}

export const answer =
  (status: number, headers: http.OutgoingHttpHeaders = {}, body = ''): Handler =>
  (_, response) => {
    response.writeHead(status, headers).end(body);
  };

export function download(urls: string[], more: Partial<DownloadRequest> = {}): Promise<{ sizeBytes: number }> {
  return downloader.download({ urls, toFile, signal: new AbortController().signal, ...more });
}

export async function expectDownloaded(content = CONTENT): Promise<void> {
  expect((await readFile(toFile)).equals(content)).toBe(true);
  expect(await readdir(directory)).toEqual(['partial']);
}
