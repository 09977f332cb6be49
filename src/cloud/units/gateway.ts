/** Where units connect: the WebSocket upgrade with certificate and token (spec/cloud-protocol.md 3.1). */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { asAosError, type Logger } from '../../core/index.ts';
import { clientOf } from '../http/server.ts';
import type { CertificateStore } from '../store/certificates.ts';
import type { UnitStore } from '../store/units.ts';

export const WEB_SOCKET_PATH = '/ws/v7/';
const PATHS: ReadonlySet<string> = new Set([WEB_SOCKET_PATH, '/ws/v7']);
/** Frames of units (spec/decisions.md 8.3, "inbound frame"); pushed logs are the largest. */
const MAX_FRAME_BYTES = 8 * 1024 * 1024;

export interface GatewayParts {
  readonly certificates: CertificateStore;
  readonly units: UnitStore;
  readonly accept: (systemId: string, socket: WebSocket, from: string) => void;
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
    const verdict = judgeSafely(parts, request);
    if (!('systemId' in verdict)) {
      parts.logger.warn({ because: verdict.because }, 'the link of a unit is refused');
      reject(socket, verdict.status, verdict.because);
      return;
    }
    server.handleUpgrade(request, socket, head, (link) =>
      parts.accept(verdict.systemId, link, request.socket.remoteAddress ?? 'an unknown address'),
    );
  };
}

type Refusal = { readonly status: string; readonly because: string };

/** A cloud that cannot look is none that forbids: the unit comes again. */
function judgeSafely(parts: GatewayParts, request: IncomingMessage): ReturnType<typeof judge> {
  try {
    return judge(parts, request);
  } catch (error) {
    parts.logger.error({ error: asAosError(error).message }, 'it could not be found out whose link this is');
    return { status: '503 Service Unavailable', because: 'the cloud cannot find out who this is now; come again' };
  }
}

/** The unit, or why it is not let in. A bad token is 401 and nothing else: only that makes a unit ask for a new one. */
function judge(parts: GatewayParts, request: IncomingMessage): Refusal | { readonly systemId: string } {
  if (!PATHS.has(request.url?.split('?')[0] ?? '')) {
    return { status: '404 Not Found', because: `the WebSocket is at ${WEB_SOCKET_PATH}` };
  }
  const client = clientOf(request, parts.certificates);
  if (client?.role !== 'unit' || client.type !== 'online') {
    return { status: '403 Forbidden', because: 'the certificate is unknown or revoked' };
  }
  const token = /^Bearer (.*)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
  const systemId = parts.units.unitOfToken(token, parts.now());
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
