/** Files that only their owner may read. */
import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { AosError, asAosError } from '../../core/index.ts';

export const SECRET_MODE = 0o600;
const OPEN_TO_OTHERS = 0o077;

/**
 * What a file holds that only its owner may read; undefined when there is none. Throws `invalidArgument` for one that
 * others may read, that belongs to somebody else, or that is no regular file. Its content is in no error.
 */
export function readSecretFile(path: string): string | undefined {
  let file: number;
  try {
    // Not blocking, should it be a pipe.
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    if (code === 'ELOOP') throw notRegular(path);
    throw asAosError(error, `cannot read ${path}`);
  }
  try {
    refuseExposed(path, fstatSync(file));
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}

function refuseExposed(path: string, stats: Stats): void {
  if (!stats.isFile()) throw notRegular(path);
  const mode = stats.mode & 0o777;
  if ((mode & OPEN_TO_OTHERS) !== 0) {
    throw new AosError(
      'invalidArgument',
      `${path} has mode ${mode.toString(8)}, expected 600: others may have copied what is in it; chmod 600 it, then renew the key`,
    );
  }
  const user = process.geteuid?.();
  if (stats.uid !== user) {
    throw new AosError('invalidArgument', `${path} belongs to user ${stats.uid}, expected ${user}; chown it`);
  }
}

function notRegular(path: string): AosError {
  return new AosError('invalidArgument', `${path} is no regular file, expected one that only its owner may read`);
}
