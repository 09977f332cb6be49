/** As atomic-file.ts for those who may not let go of the event loop: between two of their steps nothing else happens. */
import { chmodSync, closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { asAosError, faultPoint } from '../core/index.ts';
import { type AtomicWriteOptions, temporaryName } from './atomic-file.ts';

/** As `writeFileAtomic`; a mode that is given holds whatever the umask takes away. A failure leaves what was there before. */
export function writeFileAtomicSync(path: string, content: string, { mode, faultName }: AtomicWriteOptions = {}): void {
  const temporary = temporaryName(path);
  try {
    const file = openSync(temporary, 'wx', mode ?? 0o644);
    try {
      writeFileSync(file, content);
      if (mode !== undefined) chmodSync(temporary, mode);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    if (faultName) faultPoint(`${faultName}.written`);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw asAosError(error, `cannot write ${path}`);
  }
  if (faultName) faultPoint(`${faultName}.renamed`);
  syncDirectorySync(dirname(path));
}

/** As `syncDirectory`. */
export function syncDirectorySync(path: string): void {
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
