/** Blobs from a file server as the CM has one: plain HTTP with ranges. */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { ImageStore } from './image-store.ts';
import { BlobSource } from './images-for-tests.ts';
import { IMAGE_TABLES } from './item-records.ts';
import type { WantedItem } from './read-item.ts';

interface Asked {
  readonly hex: string;
  readonly range: string | undefined;
}

/** More than all of an item but its layer. */
const MIN_KEPT_BYTES = 100_000;
const signal = new AbortController().signal;
let work: string;
let source: BlobSource;
let database: DatabaseSync;
let server: Server;
let asked: Asked[];
/** Bytes after which a connection breaks. */
let breakAfter: number;
let wanted: WantedItem & { layerDigests: string[] };
let onBroken: () => void;

beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'aos-http-'));
  source = await BlobSource.create();
  database = await openDatabase(join(work, 'sm.db'), [IMAGE_TABLES], silentLogger);
  asked = [];
  breakAfter = Number.POSITIVE_INFINITY;
  onBroken = () => undefined;
  wanted = await source.service('item', '1', { layers: [[{ name: 'noise', content: randomBytes(2_000_000) }]] });
  server = createServer((request, response) => {
    const hex = request.url?.split('/').at(-1) ?? '';
    asked.push({ hex, range: request.headers.range });
    serve(readFileSync(join(source.directory, `sha256-${hex}`)), request.headers.range, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  database.close();
  await source.close();
  await rm(work, { recursive: true, force: true });
});

function serve(content: Buffer, range: string | undefined, response: ServerResponse): void {
  const from = Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0);
  response.writeHead(range === undefined ? 200 : 206, {
    'accept-ranges': 'bytes',
    etag: '"fixed"',
    'content-length': content.length - from,
    ...(range !== undefined && { 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` }),
  });
  const rest = content.subarray(from);
  if (rest.length <= breakAfter) {
    response.end(rest);
    return;
  }
  response.write(rest.subarray(0, breakAfter));
  // Not before the other side has some of it: a connection that breaks takes along what waits in it.
  void vi
    .waitFor(() => expect(keptBytes()).toBeGreaterThan(MIN_KEPT_BYTES), 10_000)
    .finally(() => {
      onBroken();
      response.destroy();
    });
}

/** Of the largest that is not there as a whole yet. */
function keptBytes(): number {
  const directory = join(work, 'images', 'downloads');
  return Math.max(0, ...readdirSync(directory).map((name) => statSync(join(directory, name)).size));
}

async function withStore<T>(use: (store: ImageStore) => Promise<T>): Promise<T> {
  const { port } = server.address() as AddressInfo;
  const store = await ImageStore.open({
    imagePath: join(work, 'images'),
    database,
    blobUrls: async (digests) => digests.map((digest) => `http://localhost:${port}/blobs/${digest.replace(':', '/')}`),
    cmHost: '127.0.0.1',
    logger: silentLogger,
  });
  try {
    return await use(store);
  } finally {
    await store.stop();
  }
}

const layerRequests = () => asked.filter(({ hex }) => wanted.layerDigests[0] === `sha256:${hex}`);

test('[SM-05] blobs come from the file server by HTTP', async () => {
  const item = await withStore((store) => store.install(wanted, signal));
  expect(readFileSync(join(item.layers[0]!, 'noise'))).toHaveLength(2_000_000);
  expect(asked).toHaveLength(4);
});

test('[SM-06] a download that breaks goes on where it stopped, also in a later process', async () => {
  breakAfter = 900_000;
  const abort = new AbortController();
  onBroken = () => abort.abort();
  await withStore((store) => expect(store.install(wanted, abort.signal)).rejects.toThrow());
  breakAfter = Number.POSITIVE_INFINITY;
  const before = layerRequests().length;
  const item = await withStore((store) => store.install(wanted, signal));
  expect(readFileSync(join(item.layers[0]!, 'noise'))).toHaveLength(2_000_000);
  const [resumed] = layerRequests().slice(before);
  expect(resumed?.range).toMatch(/^bytes=[1-9]\d*-/);
});
