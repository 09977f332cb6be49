/**
 * The marks by which an overlay hides what lies below (spec/decisions.md 4.3), and durability of whole trees. Node.js
 * makes neither devices nor extended attributes, so helpers do, once for any number of marks.
 */
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { asAosError, faultPoint } from '../../core/index.ts';
import { mustExec, type Programs } from '../program/index.ts';

const HELPER_TIMEOUT_MS = 10_000;
/** Far below what a command line holds. */
const PATHS_PER_CALL = 256;
/** A file system that others write to heavily takes its time. */
const SYNC_TIMEOUT_MS = 120_000;

/** Creates a white-out: character device 0:0. More of them are hard links to it. Throws `runtime`. */
export async function makeWhiteOut(path: string, signal: AbortSignal): Promise<void> {
  faultPoint('platform.mount.white-out');
  await mustExec('mknod', ['--', path, 'c', '0', '0'], { signal, timeoutMs: HELPER_TIMEOUT_MS });
}

/** Creates named pipes. Throws `runtime`. */
export async function makeFifos(paths: readonly string[], signal: AbortSignal): Promise<void> {
  for (let first = 0; first < paths.length; first += PATHS_PER_CALL) {
    const some = paths.slice(first, first + PATHS_PER_CALL);
    faultPoint('platform.mount.fifo');
    await mustExec('mkfifo', ['--', ...some], { signal, timeoutMs: HELPER_TIMEOUT_MS });
  }
}

/**
 * Creates empty directories, below an existing directory `parent`, that hide what lies below them in an overlay.
 *
 * The kernel itself makes them so when a directory of a lower layer is removed and made again in an overlay; thus no
 * tool for extended attributes is needed. Answers their paths. Throws `runtime`.
 */
export async function makeOpaqueDirectories(parent: string, count: number, signal: AbortSignal): Promise<string[]> {
  const directory = await mkdtemp(join(parent, '.opaque-'));
  const [lower, upper, work, merged] = ['lower', 'upper', 'work', 'merged'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
    string,
  ];
  try {
    for (const path of [lower, upper, work, merged]) await mkdir(path);
    const names = Array.from({ length: count }, (_, index) => String(index));
    for (const name of names) await mkdir(join(lower, name));
    faultPoint('platform.mount.opaque');
    const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
    const bound = { signal, timeoutMs: HELPER_TIMEOUT_MS };
    await mustExec('mount', ['-t', 'overlay', '-o', options, 'overlay', merged], bound);
    try {
      faultPoint('platform.mount.opaque-mounted');
      for (const name of names) {
        await rm(join(merged, name), { recursive: true });
        await mkdir(join(merged, name));
      }
    } finally {
      // Not to be interrupted: a mount left behind would outlive the work that made it.
      await mustExec('umount', ['-l', '--', merged], {
        signal: new AbortController().signal,
        timeoutMs: HELPER_TIMEOUT_MS,
      });
    }
    const made = names.map((name) => `${directory}-${name}`);
    for (const [index, name] of names.entries()) await rename(join(upper, name), made[index]!);
    return made;
  } catch (error) {
    throw asAosError(error, 'cannot make directories that hide what lies below them');
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Makes everything on the file system of `path` durable: cheaper than one call for each of thousands of files. */
export async function syncFileSystem(path: string, signal: AbortSignal, programs?: Programs): Promise<void> {
  faultPoint('platform.mount.sync');
  await mustExec('sync', ['--file-system', '--', path], { signal, timeoutMs: SYNC_TIMEOUT_MS }, programs);
}
