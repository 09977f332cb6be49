/** Bytes as lines, whatever comes: an endless line and bytes that are no text cost bounded memory. */

const NEWLINE = 10;
const CARRIAGE_RETURN = 13;

/**
 * Lines without their ends. Of a line longer than `maxBytes` the beginning is given and the rest left out; bytes that are
 * no UTF-8 become replacement characters. A last line without an end counts.
 */
export async function* boundedLines(chunks: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<string> {
  const line = new BoundedLine(maxBytes);
  for await (const chunk of chunks) {
    for (const text of line.push(chunk)) yield text;
  }
  const rest = line.finish();
  if (rest !== undefined) yield rest;
}

/** The splitting itself, for those who follow a file that grows. */
export class BoundedLine {
  readonly #maxBytes: number;
  #pieces: Uint8Array[] = [];
  #size = 0;
  #begun = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Lines that are complete now. */
  *push(chunk: Uint8Array): Generator<string> {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(NEWLINE, start);
      if (end < 0) break;
      this.#add(chunk.subarray(start, end));
      yield this.#take();
      start = end + 1;
    }
    if (start < chunk.length) this.#add(chunk.subarray(start));
  }

  /** What came after the last end of a line, if anything. */
  finish(): string | undefined {
    return this.#begun ? this.#take() : undefined;
  }

  #add(piece: Uint8Array): void {
    this.#begun = true;
    const room = this.#maxBytes - this.#size;
    if (room <= 0) return;
    // A copy: the chunk may be a buffer that its owner fills again.
    const kept = Uint8Array.from(piece.subarray(0, room));
    this.#pieces.push(kept);
    this.#size += kept.length;
  }

  #take(): string {
    let bytes = Buffer.concat(this.#pieces);
    if (bytes.at(-1) === CARRIAGE_RETURN) bytes = bytes.subarray(0, -1);
    this.#pieces = [];
    this.#size = 0;
    this.#begun = false;
    return bytes.toString();
  }
}
