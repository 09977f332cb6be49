/** Files that are either old or new, never half (spec/design, invariant 1). */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { faultPoint } from '../core/index.ts';

export interface AtomicWriteOptions {
  readonly mode?: number;
  /** Name of the fault points around the write: `<name>.written`, `<name>.renamed`. */
  readonly faultName?: string;
}

const TEMPORARY_MARK = '.tmp-';

/** A new name beside `path` for what is not yet complete; `removeTemporaryFiles` knows it. */
export function temporaryName(path: string): string {
  return join(dirname(path), `${TEMPORARY_MARK}${basename(path)}-${randomBytes(6).toString('hex')}`);
}

/** Replaces a file: temporary file, fsync, rename, fsync of the directory. The directory must exist. */
export async function writeFileAtomic(
  path: string,
  content: string | Uint8Array,
  options: AtomicWriteOptions = {},
): Promise<void> {
  const temporary = temporaryName(path);
  const file = await open(temporary, 'wx', options.mode ?? 0o644);
  try {
    await file.writeFile(content);
    await file.sync();
  } catch (error) {
    await file.close();
    await rm(temporary, { force: true });
    throw error;
  }
  await file.close();
  if (options.faultName) faultPoint(`${options.faultName}.written`);
  await rename(temporary, path);
  if (options.faultName) faultPoint(`${options.faultName}.renamed`);
  await syncDirectory(dirname(path));
}

/** Makes renames and removals in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Creates a directory with its parents and makes the new entry durable. */
export async function ensureDirectory(path: string, mode = 0o755): Promise<void> {
  const created = await mkdir(path, { recursive: true, mode });
  if (created !== undefined) await syncDirectory(dirname(created));
}

/** Removes what writes that a crash interrupted left in a directory: those of one file, or of all. */
export async function removeTemporaryFiles(directory: string, ofFile?: string): Promise<void> {
  const mark = ofFile === undefined ? TEMPORARY_MARK : `${TEMPORARY_MARK}${ofFile}-`;
  const names = await readdir(directory);
  await Promise.all(
    names.filter((name) => name.startsWith(mark)).map((name) => rm(join(directory, name), { force: true })),
  );
}
