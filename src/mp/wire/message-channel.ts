/** A channel seen as a stream of messages, open or with TLS. */
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { AosError, asAosError, type Logger } from '../../core/index.ts';
import { MAX_OPEN_MESSAGE_BYTES, MAX_SECURE_MESSAGE_BYTES, ONE_RECORD_MESSAGE_BYTES } from '../numbers.ts';
import type { ChannelStream } from './channel-stream.ts';
import { encodeMessage, MessageReader } from './message.ts';

/** How long the end of a session may take to leave before the channel is cut. */
const GOODBYE_MS = 500;

export class MessageChannel {
  readonly port: number;
  /** SHA-256 of the certificate that the other side showed; undefined on an open channel. */
  readonly certificate: string | undefined;
  readonly #channel: ChannelStream;
  readonly #stream: Duplex;
  readonly #logger: Logger;
  readonly #maxBytes: number;
  readonly #closed = new AbortController();
  #turn: Promise<void> = Promise.resolve();
  #hasWarned = false;

  constructor(channel: ChannelStream, logger: Logger, session?: TLSSocket) {
    this.port = channel.port;
    this.#channel = channel;
    this.#stream = session ?? channel;
    this.#logger = logger;
    this.#maxBytes = session ? MAX_SECURE_MESSAGE_BYTES : MAX_OPEN_MESSAGE_BYTES;
    this.certificate = session?.getPeerCertificate().fingerprint256;
    channel.once('close', () => this.#end(channel.errored ?? undefined));
    session?.once('close', () => this.#end(session.errored ?? undefined));
    if (channel.destroyed) this.#end(channel.errored ?? undefined);
  }

  /** Aborts when the channel is closed, with the reason. */
  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  /** Messages in order; ends when the channel is closed, throws `outOfRange` for one that is too large. */
  async *messages(): AsyncGenerator<Buffer> {
    const reader = new MessageReader(this.#maxBytes);
    try {
      // Whoever stops reading still says goodbye by `close`.
      for await (const chunk of this.#stream.iterator({ destroyOnReturn: false })) yield* reader.push(chunk as Buffer);
      this.#end(undefined);
    } catch (error) {
      if (!this.#closed.signal.aborted) throw asAosError(error);
    }
  }

  /**
   * Sends a message in the turn of its call; resolves when there is room for another. Throws `outOfRange` for one that
   * is too large, `eof` when the channel is closed.
   */
  send(body: Uint8Array): Promise<void> {
    if (body.length > this.#maxBytes) {
      const text = `a message of ${body.length} bytes is too large for port ${this.port}: at most ${this.#maxBytes}`;
      return Promise.reject(new AosError('outOfRange', text));
    }
    if (this.certificate !== undefined && body.length > ONE_RECORD_MESSAGE_BYTES && !this.#hasWarned) {
      this.#hasWarned = true;
      this.#logger.warn(
        { port: this.port, sizeBytes: body.length },
        `a message is larger than ${ONE_RECORD_MESSAGE_BYTES} bytes; older peers do not take it`,
      );
    }
    const sent = this.#turn.then(() => this.#write(encodeMessage(body)));
    this.#turn = sent.catch(() => undefined);
    return sent;
  }

  /** Ends the channel; with TLS the other side is told. */
  close(reason: AosError): void {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort(reason);
    if (this.#stream === this.#channel || this.#channel.destroyed) {
      this.#channel.destroy();
      return;
    }
    const timer = setTimeout(() => this.#channel.destroy(), GOODBYE_MS);
    this.#channel.once('close', () => clearTimeout(timer));
    this.#stream.end(() => setImmediate(() => this.#channel.destroy()));
  }

  #end(error: Error | undefined): void {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort(error ? asAosError(error) : new AosError('eof', `the peer closed port ${this.port}`));
    this.#channel.destroy();
  }

  async #write(message: Buffer): Promise<void> {
    const { signal } = this.#closed;
    if (signal.aborted) throw asAosError(signal.reason);
    if (this.#stream.write(message)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const goOn = () => resolve();
    this.#stream.once('drain', goOn);
    signal.addEventListener('abort', goOn, { once: true });
    await promise;
    this.#stream.off('drain', goOn);
    signal.removeEventListener('abort', goOn);
    if (signal.aborted) throw asAosError(signal.reason);
  }
}
