/** gRPC clients: one channel per peer, kept alive by pings, re-opened by the next call. */
import type { ClientHttp2Session } from 'node:http2';
import { checkServerIdentity } from 'node:tls';
import type { DescService } from '@bufbuild/protobuf';
import { type Client, Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { AosError } from '../core/index.ts';
import { identityOptions, type TlsIdentity } from './tls.ts';

/** Pings of a connection, and when a peer that does not answer counts as gone (spec/decisions.md 8.2). */
const KEEP_ALIVE = { intervalMs: 10_000, timeoutMs: 3_000 } as const;
/** An idle connection is looked at this much later than its ping is due, so that no look comes just too early. */
const IDLE_LOOK_LATER = 1.02;
/** Deadline that every unary call passes as `timeoutMs` unless it names another (spec/decisions.md 8.2). */
export const UNARY_DEADLINE_MS = 10_000;
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

/** What a transport needs of the manager of its connection. */
type Sessions = Pick<Http2SessionManager, 'authority' | 'request' | 'notifyResponseByteRead'>;

export interface ClientTls {
  /** PEM of the only roots that the server may chain to. */
  readonly ca: string;
  /** What the client shows; absent for servers that ask for nothing. */
  readonly identity?: TlsIdentity;
  /** Whether the certificate must carry the host of the address (spec/decisions.md C-60). Default true. */
  readonly checkHostName?: boolean;
}

export interface ChannelOptions {
  /** `host:port`. */
  readonly address: string;
  /** Absent: plain text, prior knowledge. */
  readonly tls?: ClientTls;
  /** Other times than those of the specification; for tests. */
  readonly keepAlive?: { readonly intervalMs: number; readonly timeoutMs: number };
}

/** A channel to one gRPC server. Calls made after `close` fail. */
export class Channel {
  readonly #sessions: Http2SessionManager;
  readonly #transport: Transport;
  readonly #idleLook: NodeJS.Timeout;

  constructor(options: ChannelOptions) {
    const { tls, keepAlive = KEEP_ALIVE } = options;
    const baseUrl = `${tls ? 'https' : 'http'}://${options.address}`;
    this.#sessions = new Http2SessionManager(
      baseUrl,
      {
        pingIntervalMs: keepAlive.intervalMs,
        pingTimeoutMs: keepAlive.timeoutMs,
        // Idle connections are pinged below: Connect starts its own timer of idle pings also when the last call of a
        // connection ends because the connection was destroyed, and that ping then throws where nobody can catch it.
        pingIdleConnection: false,
        idleConnectionTimeoutMs: 0x7fffffff,
      },
      tls
        ? {
            ...(tls.identity ? identityOptions(tls.identity) : {}),
            ca: tls.ca,
            checkServerIdentity: tls.checkHostName === false ? () => undefined : checkServerIdentity,
          }
        : {},
    );
    this.#transport = createGrpcTransport({
      baseUrl,
      sessionManager: neverAlone(this.#sessions),
      acceptCompression: [],
      readMaxBytes: MAX_MESSAGE_BYTES,
      writeMaxBytes: MAX_MESSAGE_BYTES,
    });
    this.#idleLook = setInterval(() => this.#verifyIdle(), keepAlive.intervalMs * IDLE_LOOK_LATER).unref();
  }

  /** A client of one service over this channel. */
  client<S extends DescService>(service: S): Client<S> {
    return createClient(service, this.#transport);
  }

  /** Connects now. Throws `timeout`, or `failed` with what hinders it: no listener, another name, no trust. */
  async ready(timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new AosError('timeout', `no connection within ${timeoutMs} ms`)), timeoutMs);
    });
    try {
      if ((await Promise.race([this.#sessions.connect(), timeout])) !== 'error') return;
    } finally {
      clearTimeout(timer);
    }
    throw asCallError(this.#sessions.error(), 'cannot connect');
  }

  /** Ends the connection and every call on it. */
  close(): void {
    clearInterval(this.#idleLook);
    this.#sessions.abort();
  }

  /** Connecting to an idle connection is a ping of it; one that is closed or broken stays so until the next call. */
  #verifyIdle(): void {
    if (this.#sessions.state() === 'idle') void this.#sessions.connect();
  }
}

/**
 * Sessions whose errors always have a listener. A session that is destroyed says so when its socket has closed; when the
 * channel is closed in between, Connect has taken its own listener away already, and the error would end the process.
 * The error itself reaches whoever called through the call.
 */
function neverAlone(sessions: Http2SessionManager): Sessions {
  const known = new WeakSet<ClientHttp2Session>();
  return {
    authority: sessions.authority,
    notifyResponseByteRead: (stream) => sessions.notifyResponseByteRead(stream),
    request: async (...call) => {
      const stream = await sessions.request(...call);
      const { session } = stream;
      if (session && !known.has(session as ClientHttp2Session)) {
        known.add(session as ClientHttp2Session);
        session.on('error', () => undefined);
      }
      return stream;
    },
  };
}

/** What a failed call means: `timeout`, `canceled`, `notSupported` for an unregistered service, else `failed`. */
export function asCallError(error: unknown, doing: string): AosError {
  if (error instanceof AosError) return error;
  const connect = ConnectError.from(error);
  const code =
    connect.code === Code.DeadlineExceeded
      ? 'timeout'
      : connect.code === Code.Canceled
        ? 'canceled'
        : connect.code === Code.Unimplemented
          ? 'notSupported'
          : 'failed';
  return new AosError(code, `${doing}: ${connect.rawMessage}`, { cause: error });
}
