/**
 * P-21: the next version of a layer of which a hundredth has changed, whole and as a delta: bytes on the wire, time of the
 * unit, and time of the cloud that makes the delta. `BENCH_BYTES` changes the size of the layer (default 64 MiB).
 */
import { spawn } from 'node:child_process';
import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeDelta } from '../src/cloud/blobs/deltas/make-delta.ts';
import { BlobFetcher } from '../src/cm/images/blob-fetcher.ts';
import { hostDisk, SpaceKeeper } from '../src/cm/images/space.ts';
import { digestOf, silentLogger, systemClock } from '../src/core/index.ts';
import type { BlobInfo } from '../src/protocol/index.ts';
import { BlobStore, DELTA_FORMAT, Downloader } from '../src/storage/index.ts';
import { formatTable, mb, median } from './table.ts';

const BYTES = Number(process.env.BENCH_BYTES ?? 64 * 1024 ** 2);
const CHANGED = 0.01;
const SPOT_BYTES = 4096;
const ROUNDS = 3;
/** A line of which a fleet has many. */
const LINE_BITS_PER_S = 10_000_000;

/** Serves the files of a directory; its own process, as the cloud is. */
const SERVER = `
const [directory] = process.argv.slice(1);
const { createReadStream, statSync } = require('node:fs');
require('node:http').createServer((request, response) => {
  const file = directory + request.url;
  response.writeHead(200, { 'content-length': statSync(file).size, 'accept-ranges': 'bytes', etag: '"1"' });
  createReadStream(file, { highWaterMark: 1 << 20 }).pipe(response);
}).listen(0, '127.0.0.1', function () { process.send(this.address().port); });
`;

const directory = await mkdtemp(join(tmpdir(), 'aos-bench-deltas-'));
const served = join(directory, 'served');

/** Encrypts a file for units; answers what they are told of it. */
async function serve(name: string, content: Buffer, port: number) {
  const [key, iv] = [randomBytes(32), randomBytes(16)];
  const cipher = createCipheriv('aes-256-cbc', key, iv);
  const file = Buffer.concat([cipher.update(content), cipher.final()]);
  await writeFile(join(served, name), file);
  return {
    urls: [`http://127.0.0.1:${port}/${name}`],
    sha256: createHash('sha3-256').update(file).digest('hex'),
    size: file.length,
    decryptInfo: { blockAlg: 'AES256/CBC', blockIv: iv.toString('base64'), blockKey: key.toString('base64') },
  };
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
}

async function deltaOf(old: Buffer, content: Buffer): Promise<Buffer> {
  const pieces = async function* (whole: Buffer) {
    for (let at = 0; at < whole.length; at += 65_536) yield whole.subarray(at, at + 65_536);
  };
  const base = {
    sizeBytes: old.length,
    all: () => pieces(old),
    read: async (start: number, sizeBytes: number) => old.subarray(start, start + sizeBytes),
  };
  const parts: Buffer[] = [];
  for await (const part of makeDelta(base, pieces(content), new AbortController().signal)) parts.push(part);
  return Buffer.concat(parts);
}

await mkdir(served);
const server = spawn(process.execPath, ['-e', SERVER, served], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
try {
  const [port] = (await once(server, 'message')) as [number];
  const old = randomBytes(BYTES);
  const content = Buffer.from(old);
  for (let spot = 0; spot < (BYTES * CHANGED) / SPOT_BYTES; spot += 1) {
    randomBytes(SPOT_BYTES).copy(content, Math.floor(Math.random() * (BYTES - SPOT_BYTES)));
  }
  const [base, digest] = [digestOf(old), digestOf(content)];
  let delta: Buffer = Buffer.alloc(0);
  const making: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    making.push(
      await seconds(async () => {
        delta = await deltaOf(old, content);
      }),
    );
  }
  const whole: BlobInfo = { digest, ...(await serve('whole', content, port)) };
  const deltaFile = await serve('delta', delta, port);
  const offered = { base, format: DELTA_FORMAT, contentSize: content.length, ...deltaFile };

  const store = await BlobStore.open(join(directory, 'install'));
  const downloadDirectory = join(directory, 'download');
  await mkdir(downloadDirectory);
  const oldFile = join(directory, 'old');
  await writeFile(oldFile, old);
  await store.adopt(base, oldFile);
  let told = whole;
  const fetcher = new BlobFetcher({
    ...{ store, downloadDirectory, caPem: [], clock: systemClock, logger: silentLogger },
    source: { locate: async () => told },
    downloader: new Downloader({ clock: systemClock }),
    space: new SpaceKeeper(hostDisk, async () => false),
    onProgress: () => undefined,
    onDamaged: () => undefined,
  });
  const nobody = { certificates: [], chains: [], roots: [], claimedTime: {} };
  const { signal } = new AbortController();
  const fetch = () => fetcher.ensure(digest, nobody, signal, async () => [base]);
  const measured = { whole: [] as number[], delta: [] as number[] };
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const way of ['whole', 'delta'] as const) {
      told = way === 'whole' ? whole : { ...whole, deltas: [offered] };
      // The unit has just been started: it reads the old blob too.
      fetcher.forget(base);
      measured[way].push(await seconds(fetch));
      await store.remove(digest);
      fetcher.forget(digest);
    }
  }
  const row = (way: 'whole' | 'delta', sizeBytes: number) => {
    const unit = median(measured[way]);
    const line = (sizeBytes * 8) / LINE_BITS_PER_S;
    return [way, mb(sizeBytes), unit.toFixed(2), line.toFixed(1), way === 'delta' ? median(making).toFixed(2) : ''];
  };
  console.log(
    formatTable({
      title: 'P-21 the next version of a layer',
      method:
        `A layer of ${mb(BYTES)} that does not compress, ${CHANGED * 100} % of it new in places of ${SPOT_BYTES} bytes; loopback HTTP, ` +
        `medians of ${ROUNDS} rounds in turns. The unit downloads, decrypts, verifies and stores; the line is computed.`,
      columns: ['as', 'on the wire', 'seconds on the unit', 'seconds of a 10 Mbit/s line', 'seconds once in the cloud'],
      rows: [row('whole', whole.size), row('delta', offered.size)],
    }),
  );
} finally {
  server.kill();
  await rm(directory, { recursive: true, force: true });
}
