/** Room on the disk for what is about to be written (spec/cm.md 3.9, spec/decisions.md CM-24). */
import { stat, statfs } from 'node:fs/promises';
import { AosError } from '../../core/index.ts';

/** Kept free for the daemon's own state (spec/decisions.md 8.3). */
const RESERVE_BYTES = 16 * 1024 * 1024;

/** Frees something; false when there is nothing left to free. */
export type Evict = () => Promise<boolean>;

/** How much is free where a path lies, and which file system that is. */
export interface Disk {
  freeBytes(path: string): Promise<number>;
  deviceOf(path: string): Promise<number>;
}

export const hostDisk: Disk = {
  freeBytes: async (path) => {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  },
  deviceOf: async (path) => (await stat(path)).dev,
};

/**
 * Reservations of all that is being written at the same time. What is written already shows in the free space of the
 * disk, so a reservation is given back only when its work has ended.
 */
export class SpaceKeeper {
  readonly #disk: Disk;
  readonly #evict: Evict;
  readonly #outstanding = new Map<number, number>();
  #queue: Promise<unknown> = Promise.resolve();

  constructor(disk: Disk, evict: Evict) {
    this.#disk = disk;
    this.#evict = evict;
  }

  /**
   * Reserves room where `path` lies; evicts as long as that helps. Throws `noMemory`. The answer gives the room back.
   */
  reserve(path: string, bytes: number): Promise<() => void> {
    const reserved = this.#queue.then(() => this.#reserve(path, bytes));
    this.#queue = reserved.catch(() => undefined);
    return reserved;
  }

  async #reserve(path: string, bytes: number): Promise<() => void> {
    const device = await this.#disk.deviceOf(path);
    const usable = async () =>
      (await this.#disk.freeBytes(path)) - RESERVE_BYTES - (this.#outstanding.get(device) ?? 0);
    for (let free = await usable(); free < bytes; free = await usable()) {
      if (await this.#evict()) continue;
      throw new AosError('noMemory', 'not enough space', { fields: { path, neededBytes: bytes, freeBytes: free } });
    }
    this.#outstanding.set(device, (this.#outstanding.get(device) ?? 0) + bytes);
    let returned = false;
    return () => {
      if (returned) return;
      returned = true;
      this.#outstanding.set(device, (this.#outstanding.get(device) ?? 0) - bytes);
    };
  }
}
