/**
 * Listens for a TLS server whose connections mostly rest. Node keeps a buffer for encrypted bytes with each connection:
 * 64 KiB where it reads from the socket itself, 16 as soon as a first one of one KiB has been full once; for a unit that
 * says something once a minute. Here bytes pass in pieces that never fill the first one: right for messages, wrong for
 * uploads.
 */
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { TLSSocket, Server as TlsServer } from 'node:tls';

/** Less than the 1,024 bytes of the first buffer. */
const MAX_PIECE_BYTES = 1000;

export class FrugalListener {
  readonly server: NetServer;
  readonly #tls: TlsServer;
  readonly #patienceMs: number;
  readonly #sockets = new Set<Socket>();
  /** What hands bytes over at this moment. */
  #speaking: Pieces | undefined;
  /** TLS over what is no socket does not know whom it speaks to. It is secure while the last bytes of its greeting come. */
  readonly #tellAddress = (secure: TLSSocket): void => {
    const { remoteAddress, remotePort } = this.#speaking?.greeted() ?? {};
    Object.defineProperties(secure, { remoteAddress: { value: remoteAddress }, remotePort: { value: remotePort } });
  };

  /** A connection that says nothing for `patienceMs` is cut; from its first byte on the time-outs of the server count. */
  constructor(tls: TlsServer, patienceMs: number) {
    this.#tls = tls;
    this.#patienceMs = patienceMs;
    // TLS still has to say what it says when its peer has ended.
    this.server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => this.#take(socket));
    // Before whoever serves the connection.
    tls.prependListener('secureConnection', this.#tellAddress);
  }

  /** Cuts what is still connected, whatever it has said. */
  async stop(): Promise<void> {
    this.#tls.off('secureConnection', this.#tellAddress);
    const closed = new Promise((resolve) => this.server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #take(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    this.#listen(socket);
  }

  /** Until its first bytes. Apart from what lives as long as the socket, so that nothing of it stays. */
  #listen(socket: Socket): void {
    const cut = () => socket.destroy();
    // The one of the socket itself would stay with it.
    const timer = setTimeout(cut, this.#patienceMs).unref();
    const stop = () => clearTimeout(timer);
    socket.on('error', cut);
    socket.on('close', stop);
    socket.once('readable', () => {
      // It has gone without a word.
      if (socket.readableLength === 0) return cut();
      stop();
      socket.off('close', stop);
      socket.off('error', cut);
      this.#secure(socket);
    });
  }

  #secure(socket: Socket): void {
    const pieces = new Pieces(socket);
    const begins = () => {
      this.#speaking = pieces;
    };
    const ends = () => {
      this.#speaking = undefined;
      if (pieces.isSecure) pieces.off('data', begins).off('data', ends);
    };
    pieces.on('data', begins);
    this.#tls.emit('connection', pieces);
    pieces.on('data', ends);
  }
}

/** A socket whose bytes come in pieces. */
class Pieces extends Duplex {
  readonly #socket: Socket;
  /** Its connection is secure, and whoever serves it knows where it comes from. */
  isSecure = false;

  constructor(socket: Socket) {
    super({ highWaterMark: MAX_PIECE_BYTES });
    this.#socket = socket;
    socket.on('data', (chunk) => this.#pass(chunk));
    // Who leaves in the middle of its greeting has nothing to wait for.
    socket.on('end', () => (this.isSecure ? this.push(null) : this.destroy()));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
  }

  /** Its connection is secure now. Answers where it comes from. */
  greeted(): Socket {
    this.isSecure = true;
    return this.#socket;
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }

  override _final(done: () => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }

  #pass(chunk: Buffer): void {
    let wantsMore = true;
    for (let start = 0; start < chunk.length; start += MAX_PIECE_BYTES) {
      wantsMore = this.push(chunk.subarray(start, start + MAX_PIECE_BYTES));
    }
    if (!wantsMore) this.#socket.pause();
  }
}
