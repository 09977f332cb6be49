/**
 * The state file of an instance (spec/cm.md 5, spec/decisions.md CM-44). The instance has it open or mounted, so it is
 * rewritten in place; a marker beside it holds the new content until that is done, a copy keeps the former one.
 */
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AosError, faultPoint, isAosError } from '../../core/index.ts';
import { syncDirectory, writeFileAtomic } from '../../storage/index.ts';
import { STATE } from '../numbers.ts';
import { openOwnFile, STATE_FILE } from './directories.ts';

const PREVIOUS = `${STATE_FILE}.prev`;
const NEXT = `${STATE_FILE}.next`;

/** SHA3-224, as the cloud knows states (spec/cm.md 5.2 step 5). */
export function stateChecksumOf(content: string | Uint8Array): string {
  return createHash('sha3-224').update(content).digest('hex');
}

/**
 * Whether a cloud means this state by its checksum; the published schema has SHA-256 where AosCore 9.1 has SHA3-224
 * (spec/decisions.md C-25).
 */
export function isStateChecksum(text: string, content: string): boolean {
  const sha256 = createHash('sha256').update(content).digest();
  const hex = text.toLowerCase();
  return hex === stateChecksumOf(content) || hex === sha256.toString('hex') || text === sha256.toString('base64');
}

export interface StateContent {
  /** Absent when the content is no UTF-8 text and cannot be told to the cloud. */
  readonly text?: string;
  readonly bytes: number;
  readonly checksum: string;
}

/**
 * Reads a state. Throws `notFound` when it is gone, `outOfRange` when it is larger than `maxBytes`, `wrongState` when it is
 * no plain file.
 */
export async function readState(path: string, maxBytes: number): Promise<StateContent> {
  const content = await readOwnFile(path, maxBytes).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new AosError('notFound', `${path} is gone; the next start of the instance makes an empty one`);
  });
  const checksum = stateChecksumOf(content);
  const bytes = content.length;
  return isUtf8(content) ? { text: content.toString(), bytes, checksum } : { bytes, checksum };
}

export function tooLarge(bytes: number, maxBytes: number): AosError {
  return new AosError('outOfRange', `the state has ${bytes} bytes, more than its limit of ${maxBytes}`);
}

async function readOwnFile(path: string, maxBytes: number): Promise<Buffer> {
  const file = await openOwnFile(path, constants.O_RDONLY);
  try {
    const { size } = await file.stat();
    if (size > maxBytes) throw tooLarge(size, maxBytes);
    return await readAtMost(file, size, maxBytes);
  } finally {
    await file.close();
  }
}

/** The file may have grown since its size was asked for: never more than the limit and one byte is held in memory. */
async function readAtMost(file: FileHandle, size: number, maxBytes: number): Promise<Buffer> {
  let buffer = Buffer.allocUnsafe(size + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
    if (bytesRead === 0) return buffer.subarray(0, length);
    length += bytesRead;
    if (length > maxBytes)
      throw new AosError('outOfRange', `the state grows, and has more than its limit of ${maxBytes} bytes`);
    if (length === buffer.length) buffer = Buffer.concat([buffer], maxBytes + 1);
  }
}

/** Intends to write a state: from here on `finishWrite` completes it, also after a crash. */
export async function beginWrite(path: string, content: string): Promise<void> {
  const directory = dirname(path);
  const previous = await formerState(path);
  if (previous) {
    await writeFileAtomic(join(directory, PREVIOUS), previous, { mode: 0o600, faultName: 'storage-state.previous' });
  }
  await writeFileAtomic(join(directory, NEXT), content, { mode: 0o600, faultName: 'storage-state.next' });
}

/** What is there, to be kept; undefined when it is larger than any state, and so is none. */
async function formerState(path: string): Promise<Buffer | undefined> {
  try {
    return await readOwnFile(path, STATE.maxBytes);
  } catch (error) {
    if (isAosError(error, 'outOfRange')) return undefined;
    throw error;
  }
}

export interface UnfinishedWrite {
  readonly content: string;
  /** The instance has written since: its state is the newer one (spec/decisions.md CM-45). */
  readonly isSuperseded: boolean;
}

/** A write that has begun and not ended; undefined when there is none. */
export async function unfinishedWrite(path: string): Promise<UnfinishedWrite | undefined> {
  const directory = dirname(path);
  const next = await readIfThere(join(directory, NEXT));
  if (!next) return undefined;
  const present = await formerState(path);
  const former = await readIfThere(join(directory, PREVIOUS));
  return { content: next.toString(), isSuperseded: present !== undefined && !isOnItsWay(present, former, next) };
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readOwnFile(path, STATE.maxBytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** A write that is interrupted, or not yet on the disk when the power fails, is whole in each of these. */
const PAGE_BYTES = 4096;

/**
 * Whether a file holds what `finishWrite` can have left of it anywhere between `former` and `next`: the one, the other, or
 * pages of both. Anything else was written by somebody else. Pure.
 */
export function isOnItsWay(present: Buffer, former: Buffer | undefined, next: Buffer): boolean {
  if (present.equals(next)) return true;
  if (!former || present.length < former.length) return false;
  const overwritten = Buffer.concat([next, former.subarray(next.length)]);
  const isWhole = [former.length, overwritten.length].includes(present.length) || present.length % PAGE_BYTES === 0;
  if (!isWhole) return false;
  for (let start = 0; start < present.length; start += PAGE_BYTES) {
    const page = present.subarray(start, start + PAGE_BYTES);
    const isOf = (content: Buffer) => page.equals(content.subarray(start, start + page.length));
    if (!isOf(former) && !isOf(overwritten)) return false;
  }
  return true;
}

/** What is in the file is to stay: there is no write any more that a crash has interrupted. */
export async function dropWrite(path: string): Promise<void> {
  await rm(join(dirname(path), NEXT), { force: true });
  await syncDirectory(dirname(path));
}

/** Writes over the content, keeping file, owner and mode. */
export async function finishWrite(path: string, content: string): Promise<void> {
  const bytes = Buffer.from(content);
  const file = await openOwnFile(path, constants.O_RDWR);
  try {
    let offset = 0;
    while (offset < bytes.length)
      offset += (await file.write(bytes, offset, bytes.length - offset, offset)).bytesWritten;
    faultPoint('storage-state.overwritten');
    await file.truncate(bytes.length);
    await file.sync();
  } finally {
    await file.close();
  }
  faultPoint('storage-state.in-place');
  await dropWrite(path);
}
