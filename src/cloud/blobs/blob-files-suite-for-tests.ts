/** What every place for blobs must do. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BlobFiles } from './blob-files.ts';

export interface MadeFiles {
  readonly files: BlobFiles;
  stop(): Promise<void>;
}

/** Some MB, in more than one piece of any stream. */
const LARGE_BYTES = 3_000_001;

/** `make` gets the directory in which a vault makes its files. */
export function blobFilesSuite(name: string, make: (directory: string) => Promise<MadeFiles>): void {
  describe(`[P-06] ${name}`, () => {
    let directory: string;
    let made: MadeFiles;

    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'aos-blob-files-'));
      await mkdir(join(directory, 'blobs'));
      made = await make(join(directory, 'blobs'));
    });

    afterEach(async () => {
      await made.stop();
      await rm(directory, { recursive: true, force: true });
    });

    /** A file as the vault makes it. */
    async function file(content: Buffer, as = 'made.part'): Promise<string> {
      const path = join(directory, 'blobs', as);
      await writeFile(path, content, { mode: 0o444 });
      return path;
    }

    const NAME = '0f0e8a34-2f5c-4d8e-9a52-5f1d7c9b8e11';
    const read = async (name: string, start: number, end: number) =>
      Buffer.concat(await (await made.files.read(name, start, end)).toArray());

    test('what was put is read, whole and in parts', async () => {
      const content = randomBytes(LARGE_BYTES);
      await made.files.put(NAME, await file(content));
      const last = LARGE_BYTES - 1;
      for (const [start, end] of [
        [0, last] as const,
        [0, 0] as const,
        [last, last] as const,
        [70_000, 200_000] as const,
      ]) {
        expect((await read(NAME, start, end)).equals(content.subarray(start, end + 1)), `${start}-${end}`).toBe(true);
      }
    });

    test('putting the same again changes nothing', async () => {
      const content = randomBytes(1000);
      await made.files.put(NAME, await file(content));
      await made.files.put(NAME, await file(content));
      expect((await read(NAME, 0, 999)).equals(content)).toBe(true);
    });

    test('a file that cannot be read is not put', async () => {
      await expect(made.files.put(NAME, join(directory, 'blobs', 'absent.part'))).rejects.toThrow(/ENOENT/);
      await expect(read(NAME, 0, 9)).rejects.toThrow();
    });

    test('what is not there is not found, before and after a removal that can be repeated', async () => {
      const missing = async () => {
        const error = await read(NAME, 0, 9).catch((reason: unknown) => reason);
        expect(error).toMatchObject({ code: expect.stringMatching(/^(notFound|ENOENT)$/) });
      };
      await missing();
      await made.files.remove(NAME);
      await made.files.put(NAME, await file(randomBytes(10)));
      await made.files.remove(NAME);
      await made.files.remove(NAME);
      await missing();
    });

    test('a reader that goes away in the middle does not hinder the next ones', async () => {
      const content = randomBytes(LARGE_BYTES);
      await made.files.put(NAME, await file(content));
      const some = async () => {
        const stream: Readable = await made.files.read(NAME, 0, LARGE_BYTES - 1);
        for await (const chunk of stream) return (chunk as Buffer).length;
        return 0;
      };
      expect(await some()).toBeGreaterThan(0);
      expect((await Promise.all([some(), some(), some()])).every((bytes) => bytes > 0)).toBe(true);
      expect((await read(NAME, 5, 6)).equals(content.subarray(5, 7))).toBe(true);
    });

    test('blobs that lie in the directory of a cloud without another store are taken over', async () => {
      const content = randomBytes(2000);
      await file(content, NAME);
      await made.files.adopt(join(directory, 'blobs'), [NAME]);
      expect((await read(NAME, 0, 1999)).equals(content)).toBe(true);
    });
  });
}
