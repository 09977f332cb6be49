/** Space on the partition of the images: reserved before it is used, made by eviction (spec/sm.md 3.8). */
import { statfs } from 'node:fs/promises';
import { AosError } from '../../core/index.ts';

/** Left for the SM's own state (spec/decisions.md 8.3). */
const OWN_RESERVE_BYTES = 16 * 1024 * 1024;

export interface SpaceOptions {
  readonly directory: string;
  /** Most that images may use, in percent of the partition; 0: no limit (spec/sm.md T-17). */
  readonly limitPercent: number;
  /** What images use now, in bytes; asked only when there is a limit. */
  readonly usedBytes: () => Promise<number>;
  /** Removes the item that is wanted least; false when there is none. */
  readonly evict: () => Promise<boolean>;
  /** For tests. */
  readonly readPartition?: () => Promise<Partition>;
}

export interface Partition {
  readonly totalBytes: number;
  readonly freeBytes: number;
}

/** Space that is spoken for; give it back exactly once, whatever happened. */
export interface Reservation {
  /** Asks for so much in place of what was reserved. Throws `noMemory`. */
  resize(bytes: number): Promise<void>;
  /** So many of the reserved bytes are on the disk now, where everybody sees them. */
  used(bytes: number): void;
  release(): void;
}

export class Space {
  readonly #options: SpaceOptions;
  #reservedBytes = 0;
  #chain: Promise<void> = Promise.resolve();

  constructor(options: SpaceOptions) {
    this.#options = options;
  }

  /** Throws `noMemory` saying how much is missing, when evicting everything that may go does not help. */
  async reserve(bytes: number): Promise<Reservation> {
    let own = 0;
    let granted = 0;
    const hold = (bytesLeft: number) => {
      this.#reservedBytes += bytesLeft - own;
      own = bytesLeft;
    };
    const resize = (wanted: number) =>
      this.#inOrder(async () => {
        hold(0);
        await this.#makeRoom(wanted);
        granted = wanted;
        hold(wanted);
      });
    await resize(bytes);
    return {
      resize,
      used: (usedBytes) => hold(Math.max(0, granted - usedBytes)),
      release: () => hold(0),
    };
  }

  async #makeRoom(bytes: number): Promise<void> {
    if (bytes === 0) return;
    for (;;) {
      const missing = await this.#missingBytes(bytes);
      if (missing <= 0) return;
      if (await this.#options.evict()) continue;
      throw new AosError(
        'noMemory',
        `not enough space for images in ${this.#options.directory}: ${bytes} bytes are needed, ${missing} are missing, and no removed item is left to make room`,
      );
    }
  }

  async #missingBytes(bytes: number): Promise<number> {
    const { limitPercent, usedBytes } = this.#options;
    const { totalBytes, freeBytes } = await (
      this.#options.readPartition ?? (() => readPartition(this.#options.directory))
    )();
    const wanted = bytes + this.#reservedBytes;
    const missing = wanted + OWN_RESERVE_BYTES - freeBytes;
    if (limitPercent <= 0 || limitPercent >= 100) return missing;
    const allowed = Math.floor((totalBytes * limitPercent) / 100);
    return Math.max(missing, (await usedBytes()) + wanted - allowed);
  }

  /** One after the other: two that look at the same time would both find the last free bytes. */
  #inOrder(work: () => Promise<void>): Promise<void> {
    const result = this.#chain.then(work);
    // Whoever asked is refused with the reason; the next one has its turn all the same.
    this.#chain = result.catch(() => undefined);
    return result;
  }
}

async function readPartition(directory: string): Promise<Partition> {
  const { bsize, blocks, bavail } = await statfs(directory);
  return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
}
