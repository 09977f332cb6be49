/** Service discovery: tells a unit where its WebSocket is (spec/cloud-protocol.md 2). */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import * as z from 'zod';
import { asAosError, type Logger, parseJson, readDocument } from '../core/index.ts';
import { PROTOCOL_VERSION } from '../protocol/index.ts';
import { sendJson, sendProblem, sendTooMany, statusOf } from './http/problem.ts';
import { type RateLimit, RateLimiter } from './http/rate-limiter.ts';
import { readBody, shownCertificate } from './http/server.ts';
import type { CloudDatabase } from './store/cloud-database.ts';

export const DISCOVERY_PATH = '/sd/v7/';
/** A unit without a configured URL has no path to ask for (spec/cloud-protocol.md 2.1). */
const PATHS: ReadonlySet<string> = new Set([DISCOVERY_PATH, '/sd/v7', '/']);
const MAX_BODY_BYTES = 64 * 1024;
/** First pause before a unit tries again. */
const NEXT_REQUEST_DELAY_MS = 1000;
const ERROR_CODES = { none: 0, error: 3 } as const;

const DiscoveryRequest = z.object({
  version: z.number(),
  systemId: z.string(),
  supportedProtocols: z.array(z.string()).default([]),
});

export interface DiscoveryParts {
  readonly database: CloudDatabase;
  readonly webSocketUrl: () => string;
  /** Of each certificate. */
  readonly rateLimit: RateLimit;
  readonly now: () => Date;
  readonly logger: Logger;
}

export function discoveryListener(parts: DiscoveryParts): RequestListener {
  const limiter = new RateLimiter(parts.rateLimit);
  return (request, response) => {
    // TLS has let in certificates of this cloud only; that the database knows it is found out later.
    const caller = shownCertificate(request) ?? `address ${request.socket.remoteAddress}`;
    const seconds = limiter.secondsToWait(caller, performance.now());
    if (seconds > 0) return sendTooMany(request, response, seconds);
    answer(parts, request, response).catch((error) => {
      parts.logger.warn({ error: asAosError(error).message }, 'a discovery request is refused');
      sendProblem(response, statusOf(error), asAosError(error).message);
    });
  };
}

async function answer(parts: DiscoveryParts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { database, now } = parts;
  const path = request.url?.split('?')[0] ?? '';
  if (!PATHS.has(path)) return sendProblem(response, 404, `discovery is at ${DISCOVERY_PATH}`);
  if (request.method !== 'POST') return sendProblem(response, 405, 'discovery takes POST');
  const fingerprint = shownCertificate(request);
  const client =
    fingerprint === undefined ? undefined : await database.read(({ certificates }) => certificates.find(fingerprint));
  if (client?.role !== 'unit' || client.type !== 'online' || client.systemId === null) {
    return sendProblem(response, 403, 'this is not the online certificate of a unit of this cloud, or it was revoked');
  }
  const body = parseJson(await readBody(request, MAX_BODY_BYTES), 'the discovery request');
  const { value } = readDocument(DiscoveryRequest, body, { what: 'the discovery request', lenientScalars: true });
  if (value.systemId !== client.systemId) {
    const text = `systemId is "${value.systemId}", but the certificate is of unit "${client.systemId}"`;
    return sendProblem(response, 403, text);
  }
  const head = { version: PROTOCOL_VERSION, systemId: client.systemId, nextRequestDelay: NEXT_REQUEST_DELAY_MS };
  const isUnderstood = value.version === PROTOCOL_VERSION && value.supportedProtocols.includes('wss');
  const { systemId } = client;
  const authToken = isUnderstood
    ? await database.writeTogether(async ({ units }) =>
        (await units.find(systemId)) ? units.newToken(systemId, now()) : undefined,
      )
    : undefined;
  if (authToken === undefined) {
    return sendJson(response, 200, { ...head, connectionInfo: [], authToken: '', errorCode: ERROR_CODES.error });
  }
  sendJson(response, 200, {
    ...head,
    connectionInfo: [parts.webSocketUrl()],
    authToken,
    errorCode: ERROR_CODES.none,
    // Several digests in one request for blobs are welcome (spec/decisions.md 2.5).
    blobBatch: true,
    // A unit that says which blobs it has may get deltas (docs/decisions/0025-deltas.md).
    blobDeltas: true,
  });
}
