/**
 * What `crun start` does for a container that was created, without a process for it: its first process waits for a byte
 * from a named pipe, which is there for as long as the container has not begun. runc has the same pipe, read the other
 * way round.
 */
import { closeSync, constants, existsSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { asAosError, faultPoint } from '../../core/index.ts';

const FIFO = 'exec.fifo';

/** The directory is what crun remembers of the container. False: it does not wait there. */
export function beginCreated(stateDirectory: string): boolean {
  const path = join(stateDirectory, FIFO);
  let pipe: number;
  try {
    pipe = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENXIO') return false;
    throw asAosError(error, `cannot open ${path}`);
  }
  try {
    writeSync(pipe, '\0');
  } finally {
    closeSync(pipe);
  }
  faultPoint('oci-runtime.begun');
  // In this order: without a pipe, what waits at it would be taken for one that runs.
  unlinkSync(path);
  return true;
}

/** Whether a container waits to be told to begin. */
export function isCreatedOnly(stateDirectory: string): boolean {
  return existsSync(join(stateDirectory, FIFO));
}
