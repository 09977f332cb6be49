/** Headers of everything that a browser gets. */
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** Nothing from elsewhere, nothing inline, no frame around it. */
const POLICY = [
  ...["default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'"],
  ...["form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"],
].join('; ');

export const SAFE_HEADERS = {
  'content-security-policy': POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
} as const;

export function sendPage(response: ServerResponse, status: number, text: string): void {
  response
    .writeHead(status, { ...SAFE_HEADERS, 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' })
    .end(text);
}

export function sendText(response: ServerResponse, text: string, contentType: string, cacheControl: string): void {
  response.writeHead(200, { ...SAFE_HEADERS, 'content-type': contentType, 'cache-control': cacheControl }).end(text);
}

/** As `sendText`, piece by piece, no faster than it is read. Rejects when the reader goes away. */
export async function sendTexts(
  response: ServerResponse,
  texts: Iterable<string>,
  contentType: string,
  cacheControl: string,
): Promise<void> {
  response.writeHead(200, { ...SAFE_HEADERS, 'content-type': contentType, 'cache-control': cacheControl });
  await pipeline(Readable.from(texts), response);
}
