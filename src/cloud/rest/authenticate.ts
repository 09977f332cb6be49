/** Who asks: by certificate, by bearer token, or by the cookie of a browser. */
import type { IncomingMessage } from 'node:http';
import type { Caller } from '../access/roles.ts';
import { shownCertificate } from '../http/server.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import { FIRST_USER } from '../store/users.ts';

/** Only ever sent back to this very host, over TLS. */
export const SESSION_COOKIE = '__Host-aos-session';

const READING: ReadonlySet<string> = new Set(['GET', 'HEAD']);

/** Undefined for a stranger: a certificate of somebody else, of a unit, or none; a token that has expired. */
export async function actorOf(
  request: IncomingMessage,
  database: CloudDatabase,
  now: Date,
): Promise<Caller | undefined> {
  // A browser shows a certificate by itself, too.
  if (!READING.has(request.method ?? '') && isFromForeignPage(request)) return undefined;
  const fingerprint = shownCertificate(request);
  const bearer = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
  const cookie = cookieOf(request, SESSION_COOKIE);
  const session = READING.has(request.method ?? '') || isFromOwnPage(request) ? cookie : undefined;
  if (fingerprint === undefined && bearer === undefined && session === undefined) return undefined;
  return database.read(async ({ certificates, users }) => {
    const client = fingerprint === undefined ? undefined : await certificates.find(fingerprint);
    if (client) return client.role === 'operator' ? users.find(client.userName ?? FIRST_USER) : undefined;
    if (bearer !== undefined) return users.ofToken(bearer, 'bearer', now);
    return session === undefined ? undefined : users.ofToken(session, 'session', now);
  });
}

export function cookieOf({ headers }: IncomingMessage, name: string): string | undefined {
  for (const pair of (headers.cookie ?? '').split(';')) {
    const at = pair.indexOf('=');
    if (at > 0 && pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim();
  }
  return undefined;
}

/** Whether a browser says that another site has made it ask; programs say nothing of the kind. */
function isFromForeignPage({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) return site !== 'same-origin';
  return headers.origin !== undefined && headers.origin !== `https://${headers.host}`;
}

/** A browser sends the cookie by itself: what changes something must come from a page of this cloud. */
export function isFromOwnPage({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) return site === 'same-origin';
  return headers.origin !== undefined && headers.origin === `https://${headers.host}`;
}
