/** gRPC servers: mutual TLS or plain HTTP/2, with certificates that can change under way. */
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createContextKey,
  createContextValues,
  type Interceptor,
} from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { Logger } from '../core/index.ts';
import { AosError, asAosError, isAosError } from '../core/index.ts';
import { type Address, parseAddress } from './address.ts';
import { keepPeerChains } from './peer-chain.ts';
import { identityOptions, type TlsIdentity } from './tls.ts';

/**
 * A connection on which nothing was heard for so long is asked whether anybody is there, so that a peer that vanished
 * is noticed within 10 s (spec/decisions.md 8.2). Peers that ping by themselves, as all AosCore clients do, are not asked.
 */
const SILENCE_MS = 6_000;
const PING_TIMEOUT_MS = 3_000;

/** Largest message that is received, and never exceeded by what is sent (spec/decisions.md 7.1). */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

/** Of a status; a peer takes 8 KiB of headers, in which each character may stand for nine. */
const MAX_STATUS_CHARACTERS = 500;

export interface ServerTls {
  readonly identity: TlsIdentity;
  /** PEM of the only roots that clients may chain to. */
  readonly ca: string;
  /** Whether a client must show a certificate. */
  readonly clientCertificate: 'required' | 'none';
}

export interface ServerOptions {
  /** `:port` or `host:port`; port 0 takes a free one. */
  readonly listen: string;
  /** Absent: HTTP/2 in plain text with prior knowledge (provisioning mode). */
  readonly tls?: ServerTls;
  readonly routes: (router: ConnectRouter) => void;
  readonly logger: Logger;
  /**
   * Says why a client may not use a service (`iamanager.v6.IAMNodesService`), or undefined when it may. Names are the
   * common name and the DNS names of the client's certificate. Absent: whoever may connect may call.
   */
  readonly authorize?: (service: string, clientNames: readonly string[]) => string | undefined;
}

/** Failures are INTERNAL with their text, cancellation is CANCELLED (spec/iam.md 16.2). */
const toStatus: Interceptor = (next) => async (request) => {
  try {
    const response = await next(request);
    return response.stream ? { ...response, message: withStatus(response.message) } : response;
  } catch (error) {
    throw statusOf(error);
  }
};

/** A stream that fails does so under way, when its handler has answered long ago. */
async function* withStatus<T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (error) {
    throw statusOf(error);
  }
}

function statusOf(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  const code = isAosError(error, 'canceled') ? Code.Canceled : Code.Internal;
  return new ConnectError(clip(asAosError(error).message), code, undefined, undefined, error);
}

/** It travels in a trailer, and may quote what a client sent: more than peers take would break the whole answer. */
function clip(message: string): string {
  return message.length <= MAX_STATUS_CHARACTERS ? message : `${message.slice(0, MAX_STATUS_CHARACTERS)}…`;
}

const clientNamesKey = createContextKey<readonly string[]>([]);

function namesOfClient(request: { readonly stream?: http2.Http2Stream }): readonly string[] {
  const socket = request.stream?.session?.socket as TLSSocket | undefined;
  const certificate = socket?.getPeerCertificate?.();
  if (!certificate?.subject) return [];
  const alternatives = [...(certificate.subjectaltname ?? '').matchAll(/DNS:([^,]+)/g)].map(([, name]) => name!.trim());
  return [certificate.subject.CN, ...alternatives].flat().filter((name) => typeof name === 'string');
}

function authorizing(authorize: NonNullable<ServerOptions['authorize']>): Interceptor {
  return (next) => (request) => {
    const refusal = authorize(request.service.typeName, request.contextValues.get(clientNamesKey));
    if (refusal !== undefined) throw new AosError('wrongState', refusal);
    return next(request);
  };
}

/** What is wrong with the certificate of the client, else what the TLS library says. */
function whyRefused(error: Error & { readonly reason?: string }, { authorizationError }: TLSSocket): string {
  // The socket was closed because of it, and the error tells only that.
  if (authorizationError) return `the certificate of the client: ${authorizationError}`;
  return error.reason ?? error.message;
}

/** A running gRPC server. */
export class ApiServer {
  readonly #server: http2.Http2Server | http2.Http2SecureServer;
  readonly #sessions = new Set<http2.ServerHttp2Session>();

  private constructor(server: http2.Http2Server | http2.Http2SecureServer) {
    this.#server = server;
    server.on('session', (session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
      watchForSilence(session);
    });
  }

  /** Listens; rejects with the system's error when the port is taken. */
  static async open(options: ServerOptions): Promise<ApiServer> {
    const address = parseAddress(options.listen);
    const handler = connectNodeAdapter({
      routes: options.routes,
      interceptors: [toStatus, ...(options.authorize ? [authorizing(options.authorize)] : [])],
      ...(options.authorize
        ? {
            contextValues: (request: object) => createContextValues().set(clientNamesKey, namesOfClient(request)),
          }
        : {}),
      readMaxBytes: MAX_MESSAGE_BYTES,
      acceptCompression: [],
      grpcWeb: false,
      maxTimeoutMs: 0x7fffffff,
    });
    const server = options.tls
      ? http2.createSecureServer(secureOptions(options.tls), handler)
      : http2.createServer(handler);
    keepPeerChains(server);
    server.on('sessionError', (error) => options.logger.debug({ error: String(error) }, 'a connection broke'));
    server.on('tlsClientError', (error: Error, socket: TLSSocket) =>
      options.logger.info({ error: whyRefused(error, socket) }, 'a TLS connection was refused'),
    );
    const result = new ApiServer(server);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ port: address.port, host: address.host || '0.0.0.0' }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    server.on('error', (error) => options.logger.error({ error: String(error) }, 'server error'));
    return result;
  }

  get address(): Address {
    const { address, port } = this.#server.address() as AddressInfo;
    return { host: address, port };
  }

  /**
   * New connections use this certificate from now on; streams of older ones are closed after `closeOldAfterMs`
   * (spec/decisions.md C-63).
   */
  replaceTls(tls: ServerTls, closeOldAfterMs: number): void {
    (this.#server as http2.Http2SecureServer).setSecureContext(secureOptions(tls));
    const old = [...this.#sessions];
    setTimeout(() => {
      for (const session of old) session.destroy();
    }, closeOldAfterMs).unref();
  }

  /** Ends every stream and frees the port. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const session of this.#sessions) session.destroy();
    await closed;
  }
}

/** Ends the session when its peer does not answer any more. */
function watchForSilence(session: http2.ServerHttp2Session): void {
  let heard = true;
  let dying: NodeJS.Timeout | undefined;
  session.on('ping', () => {
    heard = true;
  });
  const timer = setInterval(() => {
    if (!heard && !session.destroyed) {
      dying = setTimeout(() => session.destroy(), PING_TIMEOUT_MS);
      session.ping(() => clearTimeout(dying));
    }
    heard = false;
  }, SILENCE_MS);
  timer.unref();
  session.once('close', () => {
    clearInterval(timer);
    clearTimeout(dying);
  });
}

function secureOptions(tls: ServerTls): http2.SecureServerOptions {
  const required = tls.clientCertificate === 'required';
  return {
    ...identityOptions(tls.identity),
    ca: tls.ca,
    requestCert: required,
    rejectUnauthorized: required,
    ALPNProtocols: ['h2'],
    allowHTTP1: false,
    minVersion: 'TLSv1.2',
  };
}
