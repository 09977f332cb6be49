/** Serves encrypted blobs with ranges (spec/cloud-protocol.md 9.6); the random name of a file is the right to get it. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { asAosError, type Logger } from '../../core/index.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import type { BlobVault } from './blob-vault.ts';
import { parseByteRange } from './byte-range.ts';
import type { DeltaFiles } from './deltas/delta-files.ts';

export const BLOBS_PATH = '/blobs';
const RETRY_AFTER_S = 10;
const FILE = /^\/blobs\/([0-9a-f-]{36})$/;

/** An encrypted file, and where its bytes come from. */
interface ServedFile {
  readonly file: string;
  readonly fileBytes: number;
  readonly fileSha3: string;
  readonly from: Pick<BlobVault, 'read'>;
}

type Find = (file: string) => Promise<ServedFile | undefined>;

export function blobListener(
  database: CloudDatabase,
  vault: BlobVault,
  logger: Logger,
  deltas?: Pick<DeltaFiles, 'ofFile' | 'read'>,
): RequestListener {
  const find: Find = async (file) => {
    const blob = await database.read(({ items }) => items.blobOfFile(file));
    if (blob) return { ...blob, from: vault };
    const delta = deltas?.ofFile(file);
    return deltas && delta && { ...delta, from: deltas };
  };
  return (request, response) => {
    serve(find, request, response).catch((error) => {
      const { message } = asAosError(error);
      if (response.headersSent) {
        // The receiver went away, or the store failed: the length of the answer tells the receiver either way.
        logger.debug({ url: request.url, error: message }, 'a download broke off');
        response.destroy();
        return;
      }
      logger.error({ url: request.url, error: message }, 'a blob cannot be read');
      // Of the store itself a unit need not know; it comes again, or resumes.
      response.writeHead(503, { 'Content-Type': 'text/plain', 'Retry-After': RETRY_AFTER_S });
      response.end('the blob cannot be read now\n');
    });
  };
}

async function serve(find: Find, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end();
    return;
  }
  const file = FILE.exec(request.url?.split('?')[0] ?? '')?.[1];
  const blob = file === undefined ? undefined : await find(file);
  if (!blob) {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('there is no such blob\n');
    return;
  }
  await send(blob, request, response);
}

async function send(blob: ServedFile, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const etag = `"${blob.fileSha3}"`;
  // AosCore 9.1 looks for exactly this spelling.
  const headers = { 'Accept-Ranges': 'bytes', ETag: etag, 'Content-Type': 'application/octet-stream' };
  if (request.headers['if-none-match'] === etag) {
    response.writeHead(304, headers).end();
    return;
  }
  const { 'if-range': ifRange } = request.headers;
  const isSame = ifRange === undefined || ifRange === etag;
  const range = isSame && request.method === 'GET' ? parseByteRange(request.headers.range, blob.fileBytes) : 'whole';
  if (range === 'unsatisfiable') {
    response.writeHead(416, { ...headers, 'Content-Range': `bytes */${blob.fileBytes}` }).end();
    return;
  }
  const { start, end } = range === 'whole' ? { start: 0, end: blob.fileBytes - 1 } : range;
  const content = request.method === 'HEAD' ? undefined : await blob.from.read(blob.file, start, end);
  response.writeHead(range === 'whole' ? 200 : 206, {
    ...headers,
    'Content-Length': end - start + 1,
    ...(range !== 'whole' && { 'Content-Range': `bytes ${start}-${end}/${blob.fileBytes}` }),
  });
  if (content) await pipeline(content, response);
  else response.end();
}
