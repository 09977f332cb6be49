import { createHash, randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../core/index.ts';
import { BlobStore, type StoreOptions } from './index.ts';

let directory: string;
let store: BlobStore;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-blobs-'));
  store = await BlobStore.open(join(directory, 'blobs'));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** Stores content as a file that is adopted. */
async function put(digest: string, content: string | Uint8Array, options?: StoreOptions): Promise<void> {
  const file = join(directory, 'put');
  await writeFile(file, content);
  await store.adopt(digest, file, options);
}

async function files(): Promise<string[]> {
  return readdir(join(directory, 'blobs', 'sha256'));
}

async function listed(): Promise<string[]> {
  const digests = [];
  for await (const { digest } of store.list()) digests.push(digest);
  return digests.sort();
}

const HELLO = digestOf('hello');

describe('putting', () => {
  test('[CM-47] a blob lies under its algorithm and digest, read-only, once however often it is put', async () => {
    await put(HELLO, 'hello');
    await put(HELLO, 'hello');
    expect(store.path(HELLO)).toBe(join(directory, 'blobs', 'sha256', HELLO.slice(7)));
    expect(await readFile(store.path(HELLO), 'utf8')).toBe('hello');
    expect((await stat(store.path(HELLO))).mode & 0o777).toBe(0o444);
    expect(await files()).toEqual([HELLO.slice(7)]);
    expect(await store.size(HELLO)).toBe(5);
    expect(await store.has(HELLO)).toBe(true);
  });

  test('[CM-46] content with another digest is refused, and nothing is stored', async () => {
    await expect(put(HELLO, 'hellO')).rejects.toMatchObject({
      code: 'invalidChecksum',
      message: `the content is ${digestOf('hellO')}, expected ${HELLO}`,
    });
    expect(await files()).toEqual([]);
  });

  test('a caller that loses interest leaves nothing in the store, and its file where it is', async () => {
    const controller = new AbortController();
    const observe = () => controller.abort();
    await expect(put(HELLO, 'hello', { signal: controller.signal, observe })).rejects.toMatchObject({
      code: 'canceled',
    });
    expect(await files()).toEqual([]);
    expect(await readFile(join(directory, 'put'), 'utf8')).toBe('hello');
  });

  test('a check before the commit can refuse', async () => {
    const beforeCommit = () => {
      throw new Error('the signature is wrong');
    };
    await expect(put(HELLO, 'hello', { beforeCommit })).rejects.toThrow('the signature is wrong');
    expect(await files()).toEqual([]);
  });

  test('what a crash left is gone when the store is opened again, blobs stay', async () => {
    await put(HELLO, 'hello');
    await writeFile(join(directory, 'blobs', 'sha256', `.tmp-${HELLO.slice(7)}-0123`), 'hal');
    const again = await BlobStore.open(join(directory, 'blobs'));
    expect(await again.has(HELLO)).toBe(true);
    expect(await files()).toEqual([HELLO.slice(7)]);
  });

  test('any content is read back as it was', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 800 }), async (bytes) => {
        const content = Buffer.from(bytes);
        const digest = digestOf(content);
        await put(digest, content);
        expect(await store.read(digest).toArray()).toEqual(content.length === 0 ? [] : [content]);
        expect(await store.verify(digest)).toBe(true);
      }),
      { numRuns: 30 },
    );
  });
});

describe('adopting', () => {
  test('a file is moved in when its content is that of the digest', async () => {
    const file = join(directory, 'download');
    await writeFile(file, 'hello');
    const seen = createHash('sha3-256');
    await store.adopt(HELLO, file, { observe: (chunk) => seen.update(chunk) });
    expect(await store.verify(HELLO)).toBe(true);
    expect(seen.digest('hex')).toBe(createHash('sha3-256').update('hello').digest('hex'));
    await expect(stat(file)).rejects.toThrow('ENOENT');
  });

  test('a file with other content stays where it is', async () => {
    const file = join(directory, 'download');
    await writeFile(file, 'hellO');
    await expect(store.adopt(HELLO, file)).rejects.toMatchObject({ code: 'invalidChecksum' });
    expect(await readFile(file, 'utf8')).toBe('hellO');
    expect(await files()).toEqual([]);
  });

  test('a file that was hashed while it was written is taken at that word', async () => {
    const file = join(directory, 'download');
    await writeFile(file, 'hello');
    const other = digestOf('hellO').slice(7);
    await expect(store.adoptHashed(HELLO, file, other)).rejects.toMatchObject({ code: 'invalidChecksum' });
    expect(await files()).toEqual([]);
    await store.adoptHashed(HELLO, file, HELLO.slice(7));
    expect(await store.verify(HELLO)).toBe(true);
    expect((await stat(store.path(HELLO))).mode & 0o777).toBe(0o444);
  });

  test('a missing file is not found', async () => {
    await expect(store.adopt(HELLO, join(directory, 'nothing'))).rejects.toMatchObject({ code: 'notFound' });
  });
});

describe('looking', () => {
  test('a damaged blob is removed by verification', async () => {
    const content = randomBytes(1_000_000);
    const digest = digestOf(content);
    await put(digest, content);
    expect(await store.verify(digest)).toBe(true);
    content[777_777]! ^= 1;
    await chmod(store.path(digest), 0o600);
    await writeFile(store.path(digest), content);
    expect(await store.verify(digest)).toBe(false);
    expect(await store.has(digest)).toBe(false);
    expect(await store.verify(digest)).toBe(false);
  });

  test('a document is read with a limit and only undamaged', async () => {
    await put(HELLO, 'hello');
    expect(await store.readText(HELLO, 5)).toBe('hello');
    await expect(store.readText(HELLO, 4)).rejects.toMatchObject({ code: 'outOfRange' });
    await expect(store.readText(digestOf('x'), 4)).rejects.toMatchObject({ code: 'notFound' });
    await rm(store.path(HELLO));
    await writeFile(store.path(HELLO), 'hellO');
    await expect(store.readText(HELLO, 5)).rejects.toMatchObject({ code: 'invalidChecksum' });
  });

  test('the list holds blobs and nothing else, removing is repeatable', async () => {
    const other = digestOf('other');
    await put(HELLO, 'hello');
    await put(other, 'other');
    await writeFile(join(directory, 'blobs', 'sha256', 'README'), 'not a blob');
    expect(await listed()).toEqual([HELLO, other].sort());
    await store.remove(HELLO);
    await store.remove(HELLO);
    expect(await listed()).toEqual([other]);
    expect(await store.size(HELLO)).toBeUndefined();
    expect(await files()).toContain('README');
  });

  test.each(['', 'hello', 'sha256:../../etc/passwd', 'md5:00', `sha256:${'0'.repeat(63)}`])(
    '"%s" is no digest and names no file',
    async (text) => {
      expect(() => store.path(text)).toThrow('is not of the form');
      await expect(store.has(text)).rejects.toThrow('is not of the form');
      await expect(put(text, 'x')).rejects.toThrow('is not of the form');
    },
  );
});
