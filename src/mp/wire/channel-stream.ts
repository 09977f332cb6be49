/** One channel of the transport as a byte stream. */
import { Duplex } from 'node:stream';
import { CHANNEL_BUFFER_BYTES } from '../numbers.ts';

/** What the channel needs of the multiplexer. */
export interface ChannelCarrier {
  /** Calls back when the transport has taken the bytes. */
  send(port: number, data: Buffer, done: (error?: Error | null) => void): void;
  /** There is room again. */
  drained(channel: ChannelStream): void;
  closed(channel: ChannelStream): void;
}

/** Ends when the peer's connection ends, when the peer begins the channel anew, or when either side destroys it. */
export class ChannelStream extends Duplex {
  readonly port: number;
  /**
   * At the peer: the other side has answered on this channel, and not on an earlier one of the same port. At the proxy: the
   * hello of the peer was accepted, so that another one is a new session.
   */
  begun = false;
  readonly #carrier: ChannelCarrier;

  constructor(port: number, carrier: ChannelCarrier) {
    super({ readableHighWaterMark: CHANNEL_BUFFER_BYTES, allowHalfOpen: false });
    this.port = port;
    this.#carrier = carrier;
    // Whoever uses it hears of its end by reading or writing.
    this.on('error', () => undefined);
  }

  override _read(): void {
    this.#carrier.drained(this);
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#carrier.send(this.port, chunk, done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    const whole = chunks.length === 1 ? chunks[0]!.chunk : Buffer.concat(chunks.map(({ chunk }) => chunk));
    this.#carrier.send(this.port, whole, done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#carrier.closed(this);
    done(error);
  }
}
