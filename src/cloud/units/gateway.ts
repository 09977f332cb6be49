/** Where units connect: the WebSocket upgrade with certificate and token (spec/cloud-protocol.md 3.1). */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { asAosError, type Logger } from '../../core/index.ts';
import { shownCertificate } from '../http/server.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import type { Stores } from '../store/stores.ts';

export const WEB_SOCKET_PATH = '/ws/v7/';
const CLOSE_POLICY = 1008;
const PATHS: ReadonlySet<string> = new Set([WEB_SOCKET_PATH, '/ws/v7']);
/** Frames of units (spec/decisions.md 8.3, "inbound frame"); pushed logs are the largest. */
const MAX_FRAME_BYTES = 8 * 1024 * 1024;

export interface GatewayParts {
  readonly database: CloudDatabase;
  /** Resolves when it is decided whether the connection is taken; never rejects. */
  readonly accept: (systemId: string, socket: WebSocket, from: string) => Promise<void> | void;
  readonly now: () => Date;
  readonly logger: Logger;
}

/** Listener of a server's `upgrade` event. */
export function upgradeListener(parts: GatewayParts) {
  const server = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: MAX_FRAME_BYTES });
  // Made once: a function made in the listener would hold the request for as long as its link lives.
  const onError = (error: Error) => parts.logger.debug({ error: asAosError(error).message }, 'an upgrade broke off');
  return (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    socket.on('error', onError);
    letIn(parts, server, request, socket, head).catch((error) => {
      parts.logger.error({ error: asAosError(error).message }, 'the link of a unit could not be taken');
      socket.destroy();
    });
  };
}

async function letIn(
  parts: GatewayParts,
  server: WebSocketServer,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const claim = claimOf(request);
  const verdict = await judgeSafely(parts, claim);
  if (!('systemId' in verdict)) {
    parts.logger.warn({ because: verdict.because }, 'the link of a unit is refused');
    reject(socket, verdict.status, verdict.because);
    return;
  }
  let link: WebSocket | undefined;
  let isDecided: Promise<void> | void | undefined;
  server.handleUpgrade(request, socket, head, (taken) => {
    link = taken;
    isDecided = parts.accept(verdict.systemId, taken, request.socket.remoteAddress ?? 'an unknown address');
  });
  await isDecided;
  // While it was judged the unit may have been reset or deleted, which ends the links that there are: not yet this one.
  const again = await judgeSafely(parts, claim);
  if (!('systemId' in again)) link?.close(CLOSE_POLICY, again.because);
}

type Refusal = { readonly status: string; readonly because: string };
type Verdict = Refusal | { readonly systemId: string };

/** What a connection says of itself. */
interface Claim {
  readonly path: string;
  readonly fingerprint: string | undefined;
  readonly token: string;
}

const claimOf = (request: IncomingMessage): Claim => ({
  path: request.url?.split('?')[0] ?? '',
  fingerprint: shownCertificate(request),
  token: /^Bearer (.*)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '',
});

/** A cloud that cannot look is none that forbids: the unit comes again. */
async function judgeSafely({ database, now, logger }: GatewayParts, claim: Claim): Promise<Verdict> {
  try {
    return await database.read((stores) => judge(stores, claim, now()));
  } catch (error) {
    logger.error({ error: asAosError(error).message }, 'it could not be found out whose link this is');
    return { status: '503 Service Unavailable', because: 'the cloud cannot find out who this is now; come again' };
  }
}

/** The unit, or why it is not let in. A bad token is 401 and nothing else: only that makes a unit ask for a new one. */
async function judge({ certificates, units }: Stores, claim: Claim, now: Date): Promise<Verdict> {
  const { path, fingerprint, token } = claim;
  if (!PATHS.has(path)) {
    return { status: '404 Not Found', because: `the WebSocket is at ${WEB_SOCKET_PATH}` };
  }
  const client = fingerprint === undefined ? undefined : await certificates.find(fingerprint);
  if (client?.role !== 'unit' || client.type !== 'online') {
    return { status: '403 Forbidden', because: 'the certificate is unknown or revoked' };
  }
  const systemId = await units.unitOfToken(token, now);
  if (systemId === undefined || systemId !== client.systemId) {
    return { status: '401 Unauthorized', because: 'the token is unknown or has expired' };
  }
  return { systemId };
}

function reject(socket: Duplex, status: string, because: string): void {
  const body = `${because}\n`;
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
