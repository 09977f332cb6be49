/**
 * Listens for a TLS server whose connections mostly rest. Node keeps a buffer for encrypted bytes with each connection, as
 * large as its first read might be: 64 KiB of memory for a unit that says something once a minute. Here the first bytes
 * are read before TLS begins, and the buffers are as large as they need to be: 18 KiB at most. What is longer is read in
 * pieces: right for messages, wrong for uploads.
 */
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import type { Server as TlsServer } from 'node:tls';

export class FrugalListener {
  readonly server: NetServer;
  readonly #tls: TlsServer;
  readonly #patienceMs: number;
  readonly #sockets = new Set<Socket>();

  /** A connection that says nothing for `patienceMs` is cut; from its first byte on the time-outs of the server count. */
  constructor(tls: TlsServer, patienceMs: number) {
    this.#tls = tls;
    this.#patienceMs = patienceMs;
    this.server = createServer({ noDelay: true }, (socket) => this.#take(socket));
  }

  /** Cuts what is still connected, whatever it has said. */
  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #take(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    const cut = () => socket.destroy();
    socket.setTimeout(this.#patienceMs, cut);
    socket.on('error', cut);
    socket.once('readable', () => {
      // It has gone without a word.
      if (socket.readableLength === 0) return cut();
      socket.setTimeout(0, cut);
      socket.off('error', cut);
      this.#tls.emit('connection', socket);
    });
  }
}
