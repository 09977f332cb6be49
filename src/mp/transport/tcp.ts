/** The transport over TCP: the proxy listens, the peer connects (spec/mp.md 5.1, spec/decisions.md 3.4). */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { parseAddress } from '../../api/index.ts';
import { AosError, asAosError, canceledBy } from '../../core/index.ts';
import type { Transport } from './transport.ts';

const CONNECT_TIMEOUT_MS = 10_000;
/** A link that is dead without a word is noticed by the kernel's probes, some ten seconds after this silence. */
const PROBE_AFTER_MS = 10_000;

function prepare(socket: Socket): Socket {
  socket.setNoDelay(true);
  socket.setKeepAlive(true, PROBE_AFTER_MS);
  return socket;
}

/** True for an address that stands for those of all networks of a host. */
export function isEverywhere(listen: string): boolean {
  return ['', '0.0.0.0', '::'].includes(parseAddress(listen).host);
}

/** One peer at a time; a newer connection closes the older one. */
export class TcpListener implements Transport {
  readonly begins = false;
  readonly address: string;
  readonly port: number;
  readonly #server: Server;
  #current: Socket | undefined;
  #arrived: Socket | undefined;
  #wake: (() => void) | undefined;

  private constructor(server: Server) {
    this.#server = server;
    const { address, port } = server.address() as AddressInfo;
    this.port = port;
    this.address = `${address}:${port}`;
    server.on('connection', (socket) => this.#arrive(socket));
  }

  /** Throws the system's error when the port is taken. */
  static async open(listen: string): Promise<TcpListener> {
    const { host, port } = parseAddress(listen);
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(asAosError(error, `cannot listen on ${listen}`)));
      server.listen({ port, host: host || '0.0.0.0', backlog: 1 }, resolve);
    });
    return new TcpListener(server);
  }

  async next(signal: AbortSignal): Promise<Duplex> {
    this.#current?.destroy();
    while (!this.#arrived) {
      if (signal.aborted) throw canceledBy(signal);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const onAbort = () => resolve();
      signal.addEventListener('abort', onAbort, { once: true });
      await promise;
      signal.removeEventListener('abort', onAbort);
    }
    this.#current = this.#arrived;
    this.#arrived = undefined;
    return this.#current;
  }

  async close(): Promise<void> {
    this.#current?.destroy();
    this.#arrived?.destroy();
    this.#arrived = undefined;
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #arrive(socket: Socket): void {
    // It may break before anybody asks for it.
    socket.on('error', () => undefined);
    this.#arrived?.destroy();
    this.#current?.destroy();
    this.#arrived = prepare(socket);
    socket.once('close', () => {
      if (this.#arrived === socket) this.#arrived = undefined;
    });
    this.#wake?.();
  }
}

export class TcpConnector implements Transport {
  readonly begins = true;
  readonly address: string;
  #socket: Socket | undefined;

  constructor(address: string) {
    this.address = address;
  }

  async next(signal: AbortSignal): Promise<Duplex> {
    this.#socket?.destroy();
    const { host, port } = parseAddress(this.address);
    const socket = connect({ host, port });
    this.#socket = socket;
    // Its user hears of an error by the end of the stream too.
    socket.on('error', () => undefined);
    try {
      await once(socket, 'connect', { signal: AbortSignal.any([signal, AbortSignal.timeout(CONNECT_TIMEOUT_MS)]) });
    } catch (error) {
      socket.destroy();
      if (signal.aborted) throw canceledBy(signal);
      const cause = error instanceof Error && error.name === 'AbortError' ? error.cause : error;
      throw new AosError('failed', `no connection to the proxy at ${this.address}: ${asAosError(cause).message}`, {
        cause: error,
      });
    }
    return prepare(socket);
  }

  async close(): Promise<void> {
    this.#socket?.destroy();
  }
}
