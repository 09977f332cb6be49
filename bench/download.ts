/**
 * B-05: downloading, decrypting, verifying and storing one big blob, beside what a shell does with the raw tools
 * (`curl | openssl enc -d | tee >(sha256sum)`) in turns, and the memory of the process that does it.
 * `BENCH_BYTES` changes the size of the blob (default 2 GiB); needs three times as much room in the temporary directory.
 */
import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { BlobFetcher } from '../src/cm/images/blob-fetcher.ts';
import { hostDisk, SpaceKeeper } from '../src/cm/images/space.ts';
import { silentLogger, systemClock } from '../src/core/index.ts';
import { BlobStore, Downloader, ensureDirectory } from '../src/storage/index.ts';
import { formatTable, mb, median, ratio } from './table.ts';

const BYTES = Number(process.env.BENCH_BYTES ?? 2 * 1024 ** 3);
const ROUNDS = 3;
const CHUNK_BYTES = 1024 * 1024;

/** Serves one file; its own process, as the cloud is. */
const SERVER = `
const [file] = process.argv.slice(1);
const { createReadStream, statSync } = require('node:fs');
const { size } = statSync(file);
require('node:http').createServer((request, response) => {
  response.writeHead(200, { 'content-length': size, 'accept-ranges': 'bytes', etag: '"1"' });
  createReadStream(file, { highWaterMark: 1 << 20 }).pipe(response);
}).listen(0, '127.0.0.1', function () { process.send(this.address().port); });
`;

const directory = await mkdtemp(join(tmpdir(), 'aos-bench-download-'));
const plain = join(directory, 'plain');
const encrypted = join(directory, 'encrypted');
const [key, iv] = [randomBytes(32), randomBytes(16)];

async function hashOf(file: string, algorithm: string): Promise<string> {
  const hash = createHash(algorithm);
  await pipeline(createReadStream(file, { highWaterMark: CHUNK_BYTES }), hash);
  return hash.digest('hex');
}

async function makeBlob(): Promise<void> {
  const chunk = randomBytes(CHUNK_BYTES);
  await pipeline(function* () {
    for (let at = 0; at < BYTES; at += CHUNK_BYTES) {
      chunk.writeDoubleLE(at);
      yield Buffer.from(chunk.subarray(0, Math.min(CHUNK_BYTES, BYTES - at)));
    }
  }, createWriteStream(plain));
  const cipher = ['enc', '-aes-256-cbc', '-K', key.toString('hex'), '-iv', iv.toString('hex')];
  execFileSync('openssl', [...cipher, '-in', plain, '-out', encrypted]);
}

/** Largest resident set so far, bytes. */
const peakBytes = () => Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]) * 1024;

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
}

try {
  await makeBlob();
  const digest = `sha256:${await hashOf(plain, 'sha256')}`;
  const checksum = await hashOf(encrypted, 'sha3-256');
  const { size } = await stat(encrypted);
  await rm(plain);
  const server = spawn(process.execPath, ['-e', SERVER, encrypted], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  try {
    const [port] = (await once(server, 'message')) as [number];
    const url = `http://127.0.0.1:${port}/blob`;
    const out = join(directory, 'raw');
    const raw = () => {
      const decrypt = `openssl enc -d -aes-256-cbc -K ${key.toString('hex')} -iv ${iv.toString('hex')}`;
      const script = `set -o pipefail; curl -sS ${url} | ${decrypt} | tee >(sha256sum > ${out}.sum) > ${out}; sync ${out}`;
      execFileSync('bash', ['-c', script]);
    };

    const store = await BlobStore.open(join(directory, 'install'));
    const downloadDirectory = join(directory, 'download');
    await mkdir(downloadDirectory);
    await ensureDirectory(downloadDirectory);
    const fetcher = new BlobFetcher({
      store,
      source: {
        locate: async () => ({
          digest,
          urls: [url],
          sha256: checksum,
          size,
          decryptInfo: {
            blockAlg: 'AES256/CBC/PKCS7PADDING',
            blockIv: iv.toString('base64'),
            blockKey: key.toString('base64'),
          },
        }),
      },
      downloader: new Downloader({ clock: systemClock }),
      downloadDirectory,
      space: new SpaceKeeper(hostDisk, async () => false),
      caPem: [],
      clock: systemClock,
      logger: silentLogger,
      onProgress: () => undefined,
      onDamaged: () => undefined,
    });
    const nobody = { certificates: [], chains: [], roots: [], claimedTime: {} };
    const { signal } = new AbortController();

    const rawSeconds: number[] = [];
    const ourSeconds: number[] = [];
    const idlePeak = peakBytes();
    for (let round = 0; round < ROUNDS; round += 1) {
      rawSeconds.push(await timed(async () => raw()));
      await rm(out);
      ourSeconds.push(await timed(() => fetcher.ensure(digest, nobody, signal)));
      await store.remove(digest);
      fetcher.forget(digest);
    }
    const [rawMedian, ourMedian] = [median(rawSeconds), median(ourSeconds)];
    const speed = (seconds: number) => `${mb(BYTES / seconds)}/s`;
    console.log(
      formatTable({
        title: 'B-05 download, decrypt, verify, store',
        method: `One blob of ${mb(BYTES)}, AES-256-CBC, over loopback HTTP; medians of ${ROUNDS} rounds, tools and CM in turns.`,
        columns: ['who', 'seconds', 'speed', 'of the tools', 'peak memory'],
        rows: [
          ['curl, openssl, sha256sum', rawMedian.toFixed(2), speed(rawMedian), ratio(1, 1), ''],
          [
            'CM (also SHA3-256 of what came, fsync)',
            ourMedian.toFixed(2),
            speed(ourMedian),
            ratio(rawMedian, ourMedian),
            `${mb(peakBytes())}, before ${mb(idlePeak)}`,
          ],
        ],
      }),
    );
  } finally {
    server.kill();
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}
