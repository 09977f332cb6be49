import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { scanFile } from './chunks.ts';
import { hashFile } from './file-hash.ts';

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-file-hash-'));
  path = join(directory, 'file');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const never = new AbortController().signal;
const LARGE_BYTES = 17 * 1024 * 1024 + 5;

test.for([0, 1, 512 * 1024, 3 * 512 * 1024 + 7, LARGE_BYTES])(
  '%i bytes have the hash of their content',
  async (size) => {
    const content = randomBytes(size);
    await writeFile(path, content);
    const hash = createHash('sha3-256').update(content).digest();
    expect(await hashFile(path, 'sha3-256', never)).toEqual(hash);
    const scanned = createHash('sha3-256');
    for await (const piece of scanFile(path)) scanned.update(piece);
    expect(scanned.digest()).toEqual(hash);
  },
);

test('a large file whose hash nobody wants any more ends with "canceled"', async () => {
  await writeFile(path, Buffer.alloc(LARGE_BYTES));
  const abort = new AbortController();
  const hashing = hashFile(path, 'sha3-256', abort.signal);
  abort.abort();
  await expect(hashing).rejects.toMatchObject({ code: 'canceled' });
});

test('a file that is not there is said so', async () => {
  await expect(hashFile(path, 'sha256', never)).rejects.toThrow(/ENOENT/);
});
