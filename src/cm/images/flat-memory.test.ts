/** A blob much larger than what the CM may hold of it at a time. */
import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, open, rm, stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger, systemClock } from '../../core/index.ts';
import { BlobStore, Downloader } from '../../storage/index.ts';
import { BlobFetcher } from './blob-fetcher.ts';
import { hostDisk, SpaceKeeper } from './space.ts';

const MIB = 1024 * 1024;
const PIECE = randomBytes(MIB);
const [key, iv] = [randomBytes(32), randomBytes(16)];

let directory: string;
let server: Server;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cm-flat-'));
  server = createServer(async (request, response) => {
    const path = join(directory, request.url!.slice(1));
    response.writeHead(200, { 'content-length': (await stat(path)).size });
    createReadStream(path, { highWaterMark: 64 * 1024 }).pipe(response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await rm(directory, { recursive: true, force: true });
});

/** An encrypted blob of so many MiB, with the names of its content. */
async function encrypted(name: string, pieces: number) {
  const [cipher, plain, sent] = [createCipheriv('aes-256-cbc', key, iv), createHash('sha256'), createHash('sha3-256')];
  const file = await open(join(directory, name), 'w');
  const write = async (bytes: Buffer) => {
    sent.update(bytes);
    await file.write(bytes);
  };
  for (let at = 0; at < pieces; at += 1) {
    PIECE.writeUInt32LE(at);
    plain.update(PIECE);
    await write(cipher.update(PIECE));
  }
  await write(cipher.final());
  const { size } = await file.stat();
  await file.close();
  return { digest: `sha256:${plain.digest('hex')}`, sha256: sent.digest('hex'), size };
}

/** Most bytes of buffers and heap that were held while the blob was fetched, beyond those before. */
async function bytesHeld(name: string, pieces: number): Promise<number> {
  const { digest, sha256, size } = await encrypted(name, pieces);
  const store = await BlobStore.open(join(directory, `${name}-store`));
  const downloadDirectory = join(directory, `${name}-download`);
  await mkdir(downloadDirectory);
  const held = () => {
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const before = held();
  let most = 0;
  const sampling = setInterval(() => {
    most = Math.max(most, held() - before);
  }, 2);
  try {
    const fetcher = new BlobFetcher({
      store,
      source: {
        locate: async () => ({
          ...{ digest, sha256, size },
          urls: [`http://127.0.0.1:${(server.address() as AddressInfo).port}/${name}`],
          decryptInfo: {
            blockAlg: 'AES256/CBC/PKCS7PADDING',
            blockIv: iv.toString('base64'),
            blockKey: key.toString('base64'),
          },
        }),
      },
      downloader: new Downloader(),
      downloadDirectory,
      space: new SpaceKeeper(hostDisk, async () => false),
      caPem: [],
      clock: systemClock,
      logger: silentLogger,
      onProgress: () => undefined,
      onDamaged: () => undefined,
    });
    const nobody = { certificates: [], chains: [], roots: [], claimedTime: {} };
    await fetcher.ensure(digest, nobody, new AbortController().signal);
    expect(await store.size(digest)).toBe(pieces * MIB);
    return most;
  } finally {
    clearInterval(sampling);
  }
}

test('[B-05] a blob of 96 MiB takes no more memory than a small part of it while it comes, is decrypted and stored', async () => {
  await bytesHeld('warm', 8);
  expect(await bytesHeld('large', 96)).toBeLessThan(48 * MIB);
}, 60_000);
