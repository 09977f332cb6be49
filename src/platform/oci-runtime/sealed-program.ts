/**
 * A copy of crun that nobody can change, from which it runs at once.
 *
 * A container that finds out from which file its runtime runs must not be able to write to it (CVE-2019-5736). crun sees
 * to that by itself: unless it runs from a sealed file in memory, it makes a read-only mount of its file and executes
 * itself once more from there, at each call, for a fifth of what a container costs. So it is given such a file.
 */
import { closeSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { AosError, asAosError, type Logger } from '../../core/index.ts';
import { loadedLibc } from '../libc/index.ts';

const ELF = '\x7fELF';

export class SealedProgram {
  readonly #file: string;
  readonly #works: (path: string) => Promise<boolean>;
  readonly #logger: Logger;
  /** Which file it was that was copied last: a version that is installed meanwhile is copied, too. */
  #version: string | undefined;
  #path: Promise<string>;
  /** Former copies stay until the end: somebody may be about to execute them. */
  readonly #descriptors: number[] = [];

  /** `works` tells whether what lies at a path can be executed on this host. */
  constructor(file: string, works: (path: string) => Promise<boolean>, logger: Logger) {
    this.#file = file;
    this.#works = works;
    this.#logger = logger;
    this.#path = Promise.resolve(file);
  }

  /** What to execute: the copy, or the file itself where there can be none. It is good until we close, or end. */
  async path(): Promise<string> {
    const { dev, ino, size, mtimeNs } = statSync(this.#file, { bigint: true });
    const version = [dev, ino, size, mtimeNs].join(' ');
    if (version !== this.#version) {
      this.#version = version;
      this.#path = this.#copy();
    }
    return await this.#path;
  }

  close(): void {
    for (const descriptor of this.#descriptors.splice(0)) closeSync(descriptor);
    this.#version = undefined;
  }

  async #copy(): Promise<string> {
    try {
      const bytes = await readFile(this.#file);
      // A script does not execute itself once more.
      if (bytes.toString('latin1', 0, ELF.length) !== ELF) return this.#file;
      const descriptor = loadedLibc().sealedFile(basename(this.#file), bytes);
      this.#descriptors.push(descriptor);
      const path = `/proc/${process.pid}/fd/${descriptor}`;
      if (await this.#works(path)) return path;
      throw new AosError('notSupported', 'this host executes no files in memory');
    } catch (error) {
      this.#logger.info({ program: this.#file }, `it is executed from its file: ${asAosError(error).message}`);
      return this.#file;
    }
  }
}
