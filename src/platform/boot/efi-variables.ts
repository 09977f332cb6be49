/** EFI variables through efivarfs: one file each, four bytes of attributes and the value (spec/sm.md 6.6). */
import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AosError, asAosError } from '../../core/index.ts';
import { execProgram } from '../program/index.ts';

export const EFI_VARIABLES_DIR = '/sys/firmware/efi/efivars';

const GLOBAL_NAMESPACE = '8be4df61-93ca-11d2-aa0d-00e098032b8c';
/** Of systemd's boot loader and stub: from which partition they were started. */
const LOADER_NAMESPACE = '4a67b082-0a4c-41cf-b6c7-440b29bb8c4f';
/** Non-volatile, for boot services, at run time. */
const ATTRIBUTES = 0x07;
const ATTRIBUTE_BYTES = 4;
const MODE = 0o600;
const CHATTR_MS = 5_000;

export class EfiVariables {
  readonly #directory: string;

  constructor(directory: string = EFI_VARIABLES_DIR) {
    this.#directory = directory;
  }

  /** Value without attributes; undefined when there is no such variable. */
  async read(name: string): Promise<Buffer | undefined> {
    const bytes = await this.#readFile(`${name}-${GLOBAL_NAMESPACE}`);
    if (bytes === undefined) return undefined;
    if (bytes.length < ATTRIBUTE_BYTES) {
      throw new AosError('runtime', `EFI variable ${name} has ${bytes.length} bytes, expected at least 4`);
    }
    return bytes.subarray(ATTRIBUTE_BYTES);
  }

  /** GUID of the partition from which systemd's boot loader or stub was started, if one of them was. */
  async loaderPartition(): Promise<string | undefined> {
    const bytes = await this.#readFile(`LoaderDevicePartUUID-${LOADER_NAMESPACE}`);
    return bytes?.toString('utf16le', ATTRIBUTE_BYTES).replaceAll('\0', '').toLowerCase();
  }

  /** Numbers of all boot entries, ascending. Throws `notSupported` on a host without EFI. */
  async bootEntries(): Promise<number[]> {
    let names: string[];
    try {
      names = await readdir(this.#directory);
    } catch (error) {
      const text = `EFI variables are not at ${this.#directory}; boot with EFI and mount efivarfs`;
      throw new AosError('notSupported', `${text}: ${asAosError(error).message}`, { cause: error });
    }
    const pattern = new RegExp(`^Boot([0-9A-F]{4})-${GLOBAL_NAMESPACE}$`);
    return names
      .flatMap((name) => pattern.exec(name)?.[1] ?? [])
      .map((hex) => Number.parseInt(hex, 16))
      .sort(ascending);
  }

  /**
   * Replaces a variable in one write. Throws `noMemory` when the firmware has no room, `notSupported` when variables
   * cannot be written.
   */
  async write(name: string, value: Buffer): Promise<void> {
    const path = join(this.#directory, `${name}-${GLOBAL_NAMESPACE}`);
    const content = Buffer.alloc(ATTRIBUTE_BYTES + value.length);
    content.writeUInt32LE(ATTRIBUTES, 0);
    value.copy(content, ATTRIBUTE_BYTES);
    try {
      await writeOnce(path, content).catch(async (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EPERM') throw error;
        // The kernel guards variables that it does not know by the immutable flag.
        const bound = { signal: AbortSignal.timeout(CHATTR_MS), timeoutMs: CHATTR_MS };
        const { exitCode } = await execProgram('chattr', ['-i', path], bound);
        if (exitCode !== 0) throw error;
        await writeOnce(path, content);
      });
    } catch (error) {
      throw this.#refusal(name, error);
    }
  }

  async #readFile(name: string): Promise<Buffer | undefined> {
    try {
      return await readFile(join(this.#directory, name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw asAosError(error, `cannot read EFI variable ${name}`);
    }
  }

  #refusal(name: string, error: unknown): AosError {
    const { message, exitCode } = asAosError(error);
    const options = { cause: error, exitCode };
    switch ((error as NodeJS.ErrnoException).code) {
      case 'ENOSPC': {
        const next = `delete what the firmware does not need, such as dump-*, in ${this.#directory}`;
        return new AosError(
          'noMemory',
          `EFI variables are full, ${name} was not written: ${message}; ${next}`,
          options,
        );
      }
      case 'EROFS':
      case 'EACCES':
      case 'EPERM': {
        const next = `mount ${this.#directory} writable`;
        return new AosError(
          'notSupported',
          `EFI variables are read-only, ${name} was not written: ${message}; ${next}`,
          options,
        );
      }
      default:
        return asAosError(error, `EFI variable ${name} was not written`);
    }
  }
}

const ascending = (a: number, b: number) => a - b;

/** The firmware takes the whole value in one call, and nothing else. */
async function writeOnce(path: string, content: Buffer): Promise<void> {
  const file = await open(path, 'r+', MODE).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return open(path, 'wx', MODE);
    throw error;
  });
  try {
    const { bytesWritten } = await file.write(content, 0, content.length, 0);
    if (bytesWritten !== content.length) throw new Error(`${bytesWritten} of ${content.length} bytes were taken`);
    // A directory that stands for efivarfs keeps the end of a longer value; efivarfs itself has the new size already.
    if ((await file.stat()).size > content.length) await file.truncate(content.length);
    await file.sync().catch((error: NodeJS.ErrnoException) => {
      // efivarfs has nothing to flush, and says so.
      if (error.code !== 'EINVAL') throw error;
    });
  } finally {
    await file.close();
  }
}
