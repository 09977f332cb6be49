/** Hashes of whole files beside the event loop, so that they cost no time of what else is done to the file. */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { AosError, asAosError, canceledBy } from '../core/index.ts';
import { scanFile } from './chunks.ts';

/** A thread of its own takes about 30 ms and 5 MB: worth it for files that take longer to hash. */
const THREAD_FROM_BYTES = 16 * 1024 * 1024;

/** Plain text, since each program is one bundle and a thread needs a beginning of its own. */
const HASH_FILE = `
const { parentPort, workerData } = require('node:worker_threads');
const { createHash } = require('node:crypto');
const { closeSync, openSync, readSync } = require('node:fs');
const hash = createHash(workerData.algorithm);
const buffer = Buffer.allocUnsafeSlow(256 * 1024);
const file = openSync(workerData.path, 'r');
try {
  for (let size = 1; size > 0; ) {
    size = readSync(file, buffer);
    hash.update(buffer.subarray(0, size));
  }
} finally {
  closeSync(file);
}
parentPort.postMessage(hash.digest());
`;

/** Hash of a file; a large one is hashed by another core. Throws `canceled`, or what reading it fails with. */
export async function hashFile(path: string, algorithm: string, signal: AbortSignal): Promise<Buffer> {
  const { size } = await stat(path);
  if (size >= THREAD_FROM_BYTES) return hashInThread(path, algorithm, signal);
  const hash = createHash(algorithm);
  for await (const chunk of scanFile(path, signal)) hash.update(chunk);
  return hash.digest();
}

async function hashInThread(path: string, algorithm: string, signal: AbortSignal): Promise<Buffer> {
  if (signal.aborted) throw canceledBy(signal);
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const worker = new Worker(HASH_FILE, {
    eval: true,
    workerData: { path, algorithm },
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1 },
  });
  const cancel = () => reject(canceledBy(signal));
  signal.addEventListener('abort', cancel, { once: true });
  worker.once('message', (digest: Uint8Array) => resolve(Buffer.from(digest)));
  worker.once('error', (error) => reject(asAosError(error, `cannot hash ${path}`)));
  worker.once('exit', () => reject(new AosError('failed', `cannot hash ${path}: its thread ended without a result`)));
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', cancel);
    await worker.terminate();
  }
}
