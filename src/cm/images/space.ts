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

export interface Reservation {
  /** So much is still to be written; what is written already shows in the free space of the disk. */
  shrinkTo(bytes: number): void;
  /** The work has ended. */
  giveBack(): void;
}

/** Reservations of all that is being written at the same time. */
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
   * Reserves room where `path` lies; evicts as long as that helps. Throws `noMemory`.
   */
  reserve(path: string, bytes: number): Promise<Reservation> {
    const reserved = this.#queue.then(() => this.#reserve(path, bytes));
    // Whoever asked is refused with the reason; the next one has its turn all the same.
    this.#queue = reserved.catch(() => undefined);
    return reserved;
  }

  async #reserve(path: string, bytes: number): Promise<Reservation> {
    const device = await this.#disk.deviceOf(path);
    const usable = async () =>
      (await this.#disk.freeBytes(path)) - RESERVE_BYTES - (this.#outstanding.get(device) ?? 0);
    for (let free = await usable(); free < bytes; free = await usable()) {
      if (await this.#evict()) continue;
      throw new AosError('noMemory', 'not enough space', { fields: { path, neededBytes: bytes, freeBytes: free } });
    }
    let held = 0;
    const hold = (wanted: number) => {
      this.#outstanding.set(device, (this.#outstanding.get(device) ?? 0) + wanted - held);
      held = wanted;
    };
    hold(bytes);
    return {
      // It never grows again: a download that begins anew writes over what it had.
      shrinkTo: (rest) => hold(Math.min(held, Math.max(0, rest))),
      giveBack: () => hold(0),
    };
  }
}
