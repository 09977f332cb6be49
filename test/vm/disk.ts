/**
 * A disk of a machine, with the one property that matters for power cuts: a volatile write cache.
 *
 * A real drive answers a write before it is on the platter. Until the host asks for a flush (or marks the write "force
 * unit access") the drive may keep it in its memory, may store it early, and may store writes in any order. So at a
 * power cut the platter holds what was flushed plus *any* subset of the later writes, the last of them perhaps cut at a
 * sector. Killing qemu alone shows nothing of that: its writes would all survive in the page cache of the host.
 *
 * Here every write goes to a plain file at once, and what stood there before is remembered until the next flush.
 * `cutPower` puts the old content back, and then writes a random subset of the unflushed writes again.
 */
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';

export const SECTOR_BYTES = 512;

/** As small drives have it; when it is full the oldest writes are stored although nobody asked. */
const DEFAULT_CACHE_BYTES = 32 * 1024 * 1024;

interface UnflushedWrite {
  readonly offset: number;
  readonly before: Buffer;
  readonly after: Buffer;
}

/** What a power cut did to the writes that were not flushed. */
export interface PowerCut {
  readonly unflushed: number;
  readonly stored: number;
  readonly torn: number;
}

export class Disk {
  readonly path: string;
  readonly sizeBytes: number;
  readonly #file: number;
  readonly #cacheBytes: number;
  #unflushed: UnflushedWrite[] = [];
  #unflushedBytes = 0;

  /** The content is the file's; its size is the disk's. */
  constructor(path: string, options: { readonly cacheBytes?: number } = {}) {
    this.path = path;
    this.#file = openSync(path, 'r+');
    this.sizeBytes = fstatSync(this.#file).size;
    this.#cacheBytes = options.cacheBytes ?? DEFAULT_CACHE_BYTES;
  }

  // Synchronous on purpose: the file lies in the page cache, and the order of operations is the order of calls.
  read(offset: number, length: number): Buffer {
    const content = Buffer.allocUnsafe(length);
    let done = 0;
    while (done < length) {
      const count = readSync(this.#file, content, done, length - done, offset + done);
      if (count === 0) throw new RangeError(`read past the end of ${this.path} (offset ${offset}, length ${length})`);
      done += count;
    }
    return content;
  }

  /** Stores data; durable at once only when `forceUnitAccess`. The disk keeps the buffer. */
  write(offset: number, data: Buffer, forceUnitAccess = false): void {
    if (offset + data.length > this.sizeBytes) throw new RangeError(`write past the end of ${this.path}`);
    const entry = { offset, before: this.read(offset, data.length), after: data };
    this.#store(offset, data);
    this.#unflushed.push(entry);
    this.#unflushedBytes += data.length;
    if (forceUnitAccess) this.#settleLast();
    while (this.#unflushedBytes > this.#cacheBytes) this.#settleOldest();
  }

  /** Everything written so far is durable. */
  flush(): void {
    this.#unflushed = [];
    this.#unflushedBytes = 0;
  }

  /** The power is gone: of the writes since the last flush a random subset survives. The next user sees the result. */
  cutPower(random: () => number): PowerCut {
    const writes = this.#unflushed;
    for (const { offset, before } of writes.toReversed()) this.#store(offset, before);
    // From "nothing was stored" over "half of it" to "everything was".
    const chance = [0, 0.2, 0.5, 0.8, 1][Math.floor(random() * 5)]!;
    const survivors = writes.filter(() => random() < chance);
    let torn = 0;
    for (const { offset, after } of survivors) {
      const sectors = after.length / SECTOR_BYTES;
      const isTorn = sectors > 1 && random() < 0.1;
      if (isTorn) torn += 1;
      const kept = isTorn ? Math.floor(random() * sectors) * SECTOR_BYTES : after.length;
      this.#store(offset, after.subarray(0, kept));
    }
    this.flush();
    return { unflushed: writes.length, stored: survivors.length, torn };
  }

  close(): void {
    closeSync(this.#file);
  }

  #store(offset: number, data: Buffer): void {
    let done = 0;
    while (done < data.length) done += writeSync(this.#file, data, done, data.length - done, offset + done);
  }

  /**
   * The newest write is durable. With it go the earlier ones to the same place, and those that they lie upon in turn:
   * a write whose place was overwritten durably cannot be taken back any more.
   */
  #settleLast(): void {
    const settled: UnflushedWrite[] = [];
    const open: UnflushedWrite[] = [];
    for (const write of this.#unflushed.toReversed()) {
      const isDurable = settled.length === 0 || settled.some((later) => overlaps(write, later));
      (isDurable ? settled : open).push(write);
    }
    this.#unflushed = open.toReversed();
    this.#unflushedBytes = this.#unflushed.reduce((sum, write) => sum + write.after.length, 0);
  }

  #settleOldest(): void {
    const oldest = this.#unflushed.shift();
    this.#unflushedBytes -= oldest?.after.length ?? 0;
  }
}

function overlaps(a: UnflushedWrite, b: UnflushedWrite): boolean {
  return a.offset < b.offset + b.after.length && b.offset < a.offset + a.after.length;
}
