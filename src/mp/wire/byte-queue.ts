/** Bytes that arrived in pieces of any size, taken in pieces of another. */
export class ByteQueue {
  #chunks: Buffer[] = [];
  #sizeBytes = 0;

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#sizeBytes += chunk.length;
  }

  /** The next bytes, or undefined while fewer have arrived. They are copied only when they came in several pieces. */
  take(count: number): Buffer | undefined {
    if (this.#sizeBytes < count) return undefined;
    if (count === 0) return Buffer.alloc(0);
    this.#sizeBytes -= count;
    const first = this.#chunks[0]!;
    if (first.length > count) {
      this.#chunks[0] = first.subarray(count);
      return first.subarray(0, count);
    }
    let used = 0;
    let gathered = 0;
    while (gathered < count) {
      gathered += this.#chunks[used]!.length;
      used += 1;
    }
    const taken = this.#chunks.splice(0, used);
    const surplus = gathered - count;
    if (surplus > 0) {
      const last = taken[used - 1]!;
      this.#chunks.unshift(last.subarray(last.length - surplus));
      taken[used - 1] = last.subarray(0, last.length - surplus);
    }
    return used === 1 ? taken[0]! : Buffer.concat(taken, count);
  }
}
