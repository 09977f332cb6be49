/** Directories of instances, with their owner (spec/cm.md 5.1, 5.2). Every step can be repeated. */
import { constants } from 'node:fs';
import { chown, type FileHandle, lchown, lstat, open, readdir, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AosError, faultPoint, type InstanceIdent } from '../../core/index.ts';
import { ensureDirectory, syncDirectory } from '../../storage/index.ts';

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export const STATE_FILE = 'state.dat';

export function isDirectoryName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name);
}

/** `<item>/<subject>/<instance>`. Throws `invalidArgument` for ids that would lead elsewhere. */
export function relativePath({ itemId, subjectId, instance }: InstanceIdent): string {
  for (const part of [itemId, subjectId]) {
    if (!isDirectoryName(part)) throw new AosError('invalidArgument', `"${part}" cannot be the name of a directory`);
  }
  return join(itemId, subjectId, String(instance));
}

/** Makes the directory be there and, with everything in it, belong to the owner. */
export async function ensureOwnedDirectory(path: string, owner: Owner): Promise<void> {
  await ensureDirectory(path);
  faultPoint('storage-state.directory-created');
  const { uid, gid } = await lstat(path);
  if (uid === owner.uid && gid === owner.gid) return;
  await giveContent(path, owner);
  // Last: a directory with the right owner says that everything in it is done.
  await chown(path, owner.uid, owner.gid);
}

async function giveContent(path: string, owner: Owner): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const child = join(path, entry.name);
    if (entry.isDirectory()) await giveContent(child, owner);
    // Never through a link: it may point out of the directory.
    await lchown(child, owner.uid, owner.gid);
  }
}

/** Makes the state file be there, empty when new, readable for its owner alone. */
export async function ensureStateFile(path: string, owner: Owner): Promise<void> {
  const file = await openOwnFile(path, constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND);
  try {
    await file.chown(owner.uid, owner.gid);
    await file.sync();
  } finally {
    await file.close();
  }
  await syncDirectory(dirname(path));
}

/**
 * Opens a file in a directory that belongs to an instance, which may have put anything there: a link to a file of the
 * system, a pipe that blocks. Throws `wrongState` for what is not a plain file with this one name.
 */
export async function openOwnFile(path: string, flags: number): Promise<FileHandle> {
  let file: FileHandle;
  try {
    file = await open(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o600);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ELOOP') throw notPlain(path, 'a symbolic link');
    if (code === 'EISDIR') throw notPlain(path, 'a directory');
    if (code === 'ENXIO') throw notPlain(path, 'a pipe or socket');
    throw error;
  }
  try {
    const found = await file.stat();
    if (found.isDirectory()) throw notPlain(path, 'a directory');
    if (!found.isFile()) throw notPlain(path, 'a device or pipe');
    if (found.nlink > 1) throw notPlain(path, `one of ${found.nlink} names of a file`);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

function notPlain(path: string, found: string): AosError {
  return new AosError('wrongState', `${path} is ${found}, expected a plain file; the instance must not replace it`);
}

/** Removes a directory with everything in it, and the parents that it leaves empty, up to the base. */
export async function removeDirectory(base: string, relative: string): Promise<void> {
  faultPoint('storage-state.directory-removed');
  await rm(join(base, relative), { recursive: true, force: true });
  for (let parent = dirname(relative); parent !== '.'; parent = dirname(parent)) {
    try {
      await rmdir(join(base, parent));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOTEMPTY' || code === 'EEXIST') return;
      if (code !== 'ENOENT') throw error;
    }
  }
}
