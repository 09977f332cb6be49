/** Blobs as objects of a bucket in an S3-compatible store. */
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { AosError, asAosError, type Logger } from '../../../core/index.ts';
import type { BlobFiles } from '../blob-files.ts';
import { S3Client, type S3Options } from './s3-client.ts';

/** What such stores take in one piece. */
const MAX_OBJECT_BYTES = 5 * 1024 ** 3;

export interface S3FilesOptions extends S3Options {
  /** Stands before the name of each object, as it is: `aos/`. */
  readonly prefix: string;
  readonly logger: Logger;
}

export class S3Files implements BlobFiles {
  readonly #client: S3Client;
  readonly #options: S3FilesOptions;

  constructor(options: S3FilesOptions) {
    this.#options = options;
    this.#client = new S3Client(options);
  }

  stop(): void {
    this.#client.stop();
  }

  async put(name: string, path: string): Promise<void> {
    const { size } = await stat(path);
    if (size > MAX_OBJECT_BYTES) {
      throw new AosError('outOfRange', `a blob has ${size} bytes; an S3 store takes at most ${MAX_OBJECT_BYTES}`);
    }
    await this.#client.put(this.#key(name), path);
  }

  read(name: string, start: number, end: number): Promise<Readable> {
    return this.#client.get(this.#key(name), start, end);
  }

  remove(name: string): Promise<void> {
    return this.#client.remove(this.#key(name));
  }

  /** Moves them: a cloud that had its blobs in a directory, or that was restored from its backup. */
  async adopt(directory: string, names: readonly string[]): Promise<void> {
    const { logger, bucket } = this.#options;
    if (names.length > 0) logger.info({ blobs: names.length, bucket }, 'blobs move from the directory to the S3 store');
    for (const name of names) {
      const path = join(directory, name);
      try {
        await this.put(name, path);
      } catch (error) {
        throw asAosError(
          error,
          `the blobs in ${directory} cannot move to the S3 store; mend it, or go on without "s3"`,
        );
      }
      await rm(path);
    }
  }

  #key(name: string): string {
    return `${this.#options.prefix}${name}`;
  }
}
