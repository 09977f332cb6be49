/** Messages inside of a channel: size, protobuf (spec/mp.md 6.2). Pure. */
import { AosError } from '../../core/index.ts';
import { ByteQueue } from './byte-queue.ts';

const SIZE_BYTES = 4;

/** Size and body in one piece, because old peers read a message from one frame. */
export function encodeMessage(body: Uint8Array): Buffer {
  const message = Buffer.allocUnsafe(SIZE_BYTES + body.length);
  message.writeUInt32LE(body.length, 0);
  message.set(body, SIZE_BYTES);
  return message;
}

/** Reads messages whatever the borders of frames and TLS records. Holds at most one message. */
export class MessageReader {
  readonly #bytes = new ByteQueue();
  readonly #maxBytes: number;
  #sizeBytes: number | undefined;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Throws `outOfRange` for a message that is too large; the channel is of no further use then. */
  push(chunk: Buffer): Buffer[] {
    this.#bytes.push(chunk);
    const messages: Buffer[] = [];
    for (;;) {
      this.#sizeBytes ??= this.#readSize();
      if (this.#sizeBytes === undefined) return messages;
      const body = this.#bytes.take(this.#sizeBytes);
      if (!body) return messages;
      this.#sizeBytes = undefined;
      messages.push(body);
    }
  }

  #readSize(): number | undefined {
    const size = this.#bytes.take(SIZE_BYTES)?.readUInt32LE(0);
    if (size !== undefined && size > this.#maxBytes) {
      throw new AosError('outOfRange', `a message announces ${size} bytes, at most ${this.#maxBytes} may be`);
    }
    return size;
  }
}
