/** The file in which conmon leaves the exit status of a container. */
import { readFileSync, statSync, watch } from 'node:fs';
import { join } from 'node:path';
import { asAosError } from '../../core/index.ts';

/** How the first process of a container ended. */
export interface ContainerExit {
  /** Exit status; 128 + signal when a signal ended the process. */
  readonly status: number;
  /** Wall clock. */
  readonly at: Date;
}

/** The exit status, or undefined while there is none. */
export function readExitFile(exitDir: string, id: string): ContainerExit | undefined {
  const path = join(exitDir, id);
  try {
    const text = readFileSync(path, 'utf8').trim();
    return /^\d+$/.test(text) ? { status: Number(text), at: statSync(path).mtime } : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Calls when something happened in the directory; the listener looks itself. Returns what ends the watch. */
export function watchExitDirectory(exitDir: string, listener: () => void): () => void {
  try {
    const watcher = watch(exitDir, { persistent: false }, listener);
    watcher.on('error', listener);
    return () => watcher.close();
  } catch (error) {
    // The kernel has no watches left: the caller's sweep still finds the exit.
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return () => undefined;
    throw asAosError(error, `cannot watch ${exitDir}`);
  }
}
