/** Devices that come and go: a disk that is found late, a partition table that is written. */
import { watch } from 'node:fs';
import { asAosError } from '../../core/index.ts';

/**
 * Calls when a device file came or went; the listener looks itself. Returns what ends the watch. A host that has no watches
 * left, or no such directory, has no events: whoever waits must look by itself too. Throws what else watching fails with.
 */
export function watchDevices(listener: () => void, directory = '/dev'): () => void {
  try {
    // Each byte for /dev/null would be a `change`.
    const watcher = watch(directory, { persistent: false }, (event) => event === 'rename' && listener());
    watcher.on('error', listener);
    return () => watcher.close();
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (['ENOSPC', 'EMFILE', 'ENOENT'].includes(code)) return () => undefined;
    throw asAosError(error, `cannot watch ${directory}`);
  }
}
