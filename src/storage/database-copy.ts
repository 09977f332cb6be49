/** The copy of a database that takes its place when the file is found damaged (spec/beyond.md R-04). */
import { copyFile, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { backup, type DatabaseSync } from 'node:sqlite';
import { asAosError, faultPoint, type Logger } from '../core/index.ts';
import { syncDirectory, temporaryName } from './atomic-file.ts';

/** Where the copy of a database is kept. */
export const copyOf = (path: string): string => `${path}.copy`;

export interface DatabaseCopyOptions {
  readonly database: DatabaseSync;
  /** File of the database. */
  readonly path: string;
  readonly logger: Logger;
}

/** Keeps the copy fresh: one at a time, and calls that come meanwhile are one more. */
export class DatabaseCopy {
  readonly #options: DatabaseCopyOptions;
  #isWanted = false;
  #worker: Promise<void> | undefined;

  constructor(options: DatabaseCopyOptions) {
    this.#options = options;
  }

  /** Copies what is committed now, soon. A disk that takes no copy is told of in the log: the old copy stays. */
  refresh(): void {
    this.#isWanted = true;
    this.#worker ??= this.#work();
  }

  /** Waits for the copy at work, so that the database may be closed. */
  async stop(): Promise<void> {
    this.#isWanted = false;
    await this.#worker;
  }

  async #work(): Promise<void> {
    const { database, path, logger } = this.#options;
    while (this.#isWanted) {
      this.#isWanted = false;
      try {
        await writeCopy(database, path);
      } catch (error) {
        logger.warn({ path, error: asAosError(error).message }, 'the copy of the database could not be renewed');
      }
    }
    this.#worker = undefined;
  }
}

async function writeCopy(database: DatabaseSync, path: string): Promise<void> {
  const temporary = temporaryName(path);
  try {
    await backup(database, temporary);
    await syncAndRename(temporary, copyOf(path), 'storage.database-copy');
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Puts the copy in the place of a database that is gone. */
export async function restoreCopy(path: string): Promise<void> {
  const temporary = temporaryName(path);
  try {
    await copyFile(copyOf(path), temporary);
    await syncAndRename(temporary, path, 'storage.database-restore');
  } finally {
    await rm(temporary, { force: true });
  }
}

async function syncAndRename(from: string, to: string, faultName: string): Promise<void> {
  const file = await open(from, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  faultPoint(`${faultName}.written`);
  await rename(from, to);
  faultPoint(`${faultName}.renamed`);
  await syncDirectory(dirname(to));
}
