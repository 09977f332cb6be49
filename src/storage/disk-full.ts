import { constants } from 'node:os';
import { type AosError, isAosError } from '../core/index.ts';

const { ENOSPC, EDQUOT } = constants.errno;

/** The number under which a database says the same as a file system does. */
export const DISK_IS_FULL = ENOSPC;

/** Whether a disk, or what a user may have of it, is full: only room helps, which others make. */
export function isDiskFull(error: unknown): error is AosError {
  return isAosError(error, 'noMemory') && (error.exitCode === ENOSPC || error.exitCode === EDQUOT);
}
