/** A partition of the host, or a file that stands for one. */
import { mkdir, open, readFile, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { AosError, asAosError, faultPoint, throwIfCanceled } from '../../core/index.ts';
import { HostMounts, type Mounts } from '../mount/index.ts';
import { mustExec } from '../program/index.ts';
import type { Partition } from './partition.ts';

/** As in the spec's raw copy. */
const BLOCK_BYTES = 1024 * 1024;
const SECTOR_BYTES = 512;
const MAX_TEXT_BYTES = 4096;
const FLUSH_MS = 60_000;

export class HostPartition implements Partition {
  readonly name: string;
  readonly #mountPoint: string;
  readonly #mounts: Mounts;

  /** `mountPoint`: a directory of our own, created when it is needed. */
  constructor(device: string, mountPoint: string, mounts: Mounts = new HostMounts()) {
    this.name = device;
    this.#mountPoint = mountPoint;
    this.#mounts = mounts;
  }

  async sizeBytes(): Promise<number> {
    const facts = await this.#stat();
    if (!facts.isBlockDevice()) return facts.size;
    const path = join('/sys/class/block', basename(await realpath(this.name)), 'size');
    return Number(await readFile(path, 'utf8')) * SECTOR_BYTES;
  }

  async whyBusy(): Promise<string | undefined> {
    const facts = await this.#stat();
    if (!facts.isBlockDevice()) return undefined;
    const device = `${(facts.rdev >> 8) & 0xfff}:${(facts.rdev & 0xff) | ((facts.rdev >> 12) & 0xfff00)}`;
    const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').map((line) => line.split(' '));
    const mounted = lines.find((words) => words[2] === device);
    return mounted && `${this.name} is mounted at ${mounted[4]}`;
  }

  async write(content: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const because = await this.whyBusy();
    if (because !== undefined) throw new AosError('wrongState', `it is not written: ${because}`);
    const size = await this.sizeBytes();
    const file = await open(this.name, 'r+');
    try {
      let position = 0;
      for await (const chunk of content) {
        throwIfCanceled(signal);
        if (position + chunk.length > size) {
          throw new AosError('noMemory', `${this.name} has ${size} bytes, the content has more`);
        }
        for (let offset = 0; offset < chunk.length; ) {
          const { bytesWritten } = await file.write(chunk, offset, chunk.length - offset, position + offset);
          offset += bytesWritten;
        }
        position += chunk.length;
        faultPoint('platform.partitions.write');
      }
      await file.sync();
      faultPoint('platform.partitions.written');
    } catch (error) {
      throw asAosError(error, `cannot write ${this.name}`);
    } finally {
      await file.close();
    }
  }

  async *read(bytes: number, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    // What was just written would be read from memory.
    if ((await this.#stat()).isBlockDevice()) {
      await mustExec('blockdev', ['--flushbufs', this.name], { signal, timeoutMs: FLUSH_MS });
    }
    const file = await open(this.name, 'r');
    try {
      for (let position = 0; position < bytes; ) {
        throwIfCanceled(signal);
        const piece = Buffer.allocUnsafe(Math.min(BLOCK_BYTES, bytes - position));
        const { bytesRead } = await file.read(piece, 0, piece.length, position);
        if (bytesRead === 0) throw new AosError('eof', `${this.name} ends after ${position} of ${bytes} bytes`);
        yield piece.subarray(0, bytesRead);
        position += bytesRead;
      }
    } catch (error) {
      throw asAosError(error, `cannot read ${this.name}`);
    } finally {
      await file.close();
    }
  }

  async readText(path: string, signal: AbortSignal): Promise<string> {
    await mkdir(this.#mountPoint, { recursive: true });
    // A former process may have been killed while it looked.
    await this.#unmount(signal);
    const isFile = !(await this.#stat()).isBlockDevice();
    const options = ['ro', 'nosuid', 'nodev', 'noexec', ...(isFile ? ['loop'] : [])];
    const mount = { target: this.#mountPoint, type: 'auto', source: this.name, options };
    const [error] = await this.#mounts.mountAll([mount], signal);
    if (error) throw asAosError(error, `cannot look into ${this.name}`);
    try {
      const file = await open(join(this.#mountPoint, path), 'r');
      try {
        const { bytesRead, buffer } = await file.read(Buffer.alloc(MAX_TEXT_BYTES), 0, MAX_TEXT_BYTES, 0);
        return buffer.toString('utf8', 0, bytesRead);
      } finally {
        await file.close();
      }
    } catch (cause) {
      throw asAosError(cause, `cannot read ${path} in ${this.name}`);
    } finally {
      await this.#unmount(signal);
    }
  }

  async #unmount(signal: AbortSignal): Promise<void> {
    const [error] = await this.#mounts.unmountAll([this.#mountPoint], signal);
    if (error) throw error;
  }

  async #stat() {
    try {
      return await stat(this.name);
    } catch (error) {
      throw asAosError(error, `there is no partition ${this.name}`);
    }
  }
}
