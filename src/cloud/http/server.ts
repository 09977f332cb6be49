/** HTTP and HTTPS servers of a cloud. */
import { createServer as createHttpServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer, type ServerOptions } from 'node:https';
import type { AddressInfo, Server as NetServer } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { keepPeerChains } from '../../api/index.ts';
import { AosError } from '../../core/index.ts';
import type { Authority } from '../pki/authority.ts';
import { fingerprintOf } from '../pki/x509.ts';
import { FrugalListener } from './frugal-listener.ts';

const HEADERS_TIMEOUT_MS = 30_000;

/** Whether clients must show a certificate of this cloud. */
export type ClientCertificates = 'required' | 'asked' | 'none';

export function tlsOptions(authority: Authority, clients: ClientCertificates): ServerOptions {
  return {
    cert: authority.server.chain,
    key: authority.server.key,
    ca: authority.rootPem,
    minVersion: 'TLSv1.2',
    requestCert: clients !== 'none',
    rejectUnauthorized: clients === 'required',
    headersTimeout: HEADERS_TIMEOUT_MS,
    // An upload takes as long as it takes.
    requestTimeout: 0,
  };
}

/** A server that listens; `port` is the real one when 0 was asked for. */
export class RunningServer {
  readonly server: Server;
  readonly port: number;
  readonly #frugal: FrugalListener | undefined;

  private constructor(server: Server, port: number, frugal: FrugalListener | undefined) {
    this.server = server;
    this.port = port;
    this.#frugal = frugal;
  }

  static async open(
    tls: ServerOptions | undefined,
    listener: RequestListener,
    port: number,
    host: string,
  ): Promise<RunningServer> {
    const server = tls
      ? createSecureServer(tls, listener)
      : createHttpServer({ headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: 0 }, listener);
    return new RunningServer(server, await listen(server, port, host), undefined);
  }

  /** A server for many connections that mostly rest. */
  static async openFrugal(
    tls: ServerOptions,
    listener: RequestListener,
    port: number,
    host: string,
  ): Promise<RunningServer> {
    const server = createSecureServer(tls, listener);
    // Node watches over slow headers only where it listens itself.
    server.setTimeout(HEADERS_TIMEOUT_MS);
    const frugal = new FrugalListener(server, HEADERS_TIMEOUT_MS);
    return new RunningServer(server, await listen(frugal.server, port, host), frugal);
  }

  async stop(): Promise<void> {
    if (this.#frugal) {
      await this.#frugal.stop();
      return;
    }
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.server.closeAllConnections();
    await closed;
  }
}

function createSecureServer(tls: ServerOptions, listener: RequestListener): HttpsServer {
  const server = createHttpsServer(tls, listener);
  keepPeerChains(server);
  return server;
}

/** Answers the port. */
async function listen(server: NetServer, port: number, host: string): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, ...(host !== '' && { host }) }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  return (server.address() as AddressInfo).port;
}

/** Fingerprint of the certificate that the client has shown, when it is one of this cloud's and has not expired. */
export function shownCertificate(request: IncomingMessage): string | undefined {
  const socket = request.socket as TLSSocket;
  return socket.authorized ? fingerprintOf(socket.getPeerCertificate().raw) : undefined;
}

/** A body as it comes. Whoever stops in the middle can still answer: Node would cut the connection. */
export const piecesOf = (request: IncomingMessage): AsyncIterable<Buffer> =>
  request.iterator({ destroyOnReturn: false });

/** Reads a body. Throws `outOfRange` when it is larger than `maxBytes`. */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of piecesOf(request)) {
    size += chunk.length;
    if (size > maxBytes) throw new AosError('outOfRange', `the request has more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
