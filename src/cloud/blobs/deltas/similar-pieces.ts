/** Finds out which piece of an old content a part of a new one is most like. Pure; nothing is read here. */
import { PIECE_BYTES } from '../../../storage/index.ts';

/** Content is compared in blocks of so many bytes. */
const BLOCK_BYTES = 2048;
const FACTOR = 0x01000193;
const EMPTY = -1;

/** What drops out of a window of one block: the factor, so many times. */
const DROPPING = Array.from({ length: BLOCK_BYTES }).reduce<number>((power) => Math.imul(power, FACTOR), 1);

/** Where each block of the old content lies, by a hash that rolls. About 16 bytes of memory for each block. */
export class SimilarPieces {
  readonly #hashes: Uint32Array;
  readonly #blocks: Int32Array;
  readonly #mask: number;
  readonly #sizeBytes: number;
  /** Of the block that is being added. */
  #hash = 0;
  #filledBytes = 0;
  #block = 0;
  #former = 0;

  /** `sizeBytes` is the size of the old content. */
  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
    const slots = 2 ** Math.ceil(Math.log2(Math.max(16, (2 * sizeBytes) / BLOCK_BYTES)));
    this.#mask = slots - 1;
    this.#hashes = new Uint32Array(slots);
    this.#blocks = new Int32Array(slots).fill(EMPTY);
  }

  /** The next bytes of the old content. */
  add(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i += 1) {
      this.#hash = (Math.imul(this.#hash, FACTOR) + bytes[i]! + 1) | 0;
      this.#filledBytes += 1;
      if (this.#filledBytes < BLOCK_BYTES) continue;
      // A long run of the same would be found everywhere.
      if (this.#hash !== this.#former || this.#block === 0) this.#put(this.#hash >>> 0, this.#block);
      this.#former = this.#hash;
      this.#hash = 0;
      this.#filledBytes = 0;
      this.#block += 1;
    }
  }

  /**
   * Where the piece of the old content begins that has most blocks of this part of the new one; undefined when it has
   * none. The piece is `PIECE_BYTES` long, or ends with the content.
   */
  startFor(part: Uint8Array): number | undefined {
    const places = this.#placesOf(part).sort((a, b) => a - b);
    if (places.length === 0) return undefined;
    const reach = PIECE_BYTES - BLOCK_BYTES;
    let [best, bestCount] = [0, 0];
    for (let first = 0, last = 0; last < places.length; last += 1) {
      while (places[last]! - places[first]! > reach) first += 1;
      if (last - first + 1 > bestCount) [best, bestCount] = [first, last - first + 1];
    }
    const [from, to] = [places[best]!, places[best + bestCount - 1]! + BLOCK_BYTES];
    // As much before as behind: what stands between the blocks that were found is there as well.
    const start = Math.floor((from + to - PIECE_BYTES) / 2);
    return Math.max(0, Math.min(start, this.#sizeBytes - PIECE_BYTES));
  }

  /** Places in the old content of all blocks that occur anywhere in the part. */
  #placesOf(part: Uint8Array): number[] {
    const places: number[] = [];
    let hash = 0;
    for (let i = 0, filled = 0; i < part.length; i += 1) {
      hash = (Math.imul(hash, FACTOR) + part[i]! + 1) | 0;
      if (filled === BLOCK_BYTES) hash = (hash - Math.imul(part[i - BLOCK_BYTES]! + 1, DROPPING)) | 0;
      else filled += 1;
      if (filled < BLOCK_BYTES) continue;
      const block = this.#find(hash >>> 0);
      if (block === undefined) continue;
      places.push(block * BLOCK_BYTES);
      hash = 0;
      filled = 0;
    }
    return places;
  }

  #put(hash: number, block: number): void {
    for (let slot = spread(hash) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      if (this.#blocks[slot] !== EMPTY) {
        if (this.#hashes[slot] === hash) return;
        continue;
      }
      this.#hashes[slot] = hash;
      this.#blocks[slot] = block;
      return;
    }
  }

  #find(hash: number): number | undefined {
    for (let slot = spread(hash) & this.#mask; this.#blocks[slot] !== EMPTY; slot = (slot + 1) & this.#mask) {
      if (this.#hashes[slot] === hash) return this.#blocks[slot];
    }
    return undefined;
  }
}

/** Low bits of a rolling hash say little of what came first. */
function spread(hash: number): number {
  return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 8;
}
