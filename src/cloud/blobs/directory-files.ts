/** Blobs as files of one directory. */
import { createReadStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { faultPoint } from '../../core/index.ts';
import { syncDirectory } from '../../storage/index.ts';
import type { BlobFiles } from './blob-files.ts';

export class DirectoryFiles implements BlobFiles {
  readonly #directory: string;

  /** The directory must exist, on the file system of the files that it is to take. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  async put(name: string, path: string): Promise<void> {
    const target = this.#path(name);
    await rename(path, target);
    await syncDirectory(dirname(target));
    faultPoint('cloud.blob.renamed');
  }

  async read(name: string, start: number, end: number): Promise<Readable> {
    return createReadStream(this.#path(name), { start, end });
  }

  async remove(name: string): Promise<void> {
    await rm(this.#path(name), { force: true });
  }

  async adopt(): Promise<void> {
    // They lie here already.
  }

  stop(): void {
    // Nothing is open between two calls.
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }
}
