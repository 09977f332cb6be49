/** Who asks: by certificate, by bearer token, or by the cookie of a browser. */
import type { IncomingMessage } from 'node:http';
import type { Actor } from '../access/roles.ts';
import { clientOf } from '../http/server.ts';
import type { Stores } from '../store/open-stores.ts';
import { FIRST_USER } from '../store/users.ts';

/** Only ever sent back to this very host, over TLS. */
export const SESSION_COOKIE = '__Host-aos-session';

const READING: ReadonlySet<string> = new Set(['GET', 'HEAD']);

/** Undefined for a stranger: a certificate of somebody else, of a unit, or none; a token that has expired. */
export function actorOf(request: IncomingMessage, stores: Stores, now: Date): Actor | undefined {
  // A browser shows a certificate by itself, too.
  if (!READING.has(request.method ?? '') && isFromForeignPage(request)) return undefined;
  const client = clientOf(request, stores.certificates);
  if (client) return client.role === 'operator' ? stores.users.find(client.userName ?? FIRST_USER) : undefined;
  const bearer = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (bearer !== undefined) return stores.users.ofToken(bearer, 'bearer', now);
  const session = cookieOf(request, SESSION_COOKIE);
  if (session === undefined || !(READING.has(request.method ?? '') || isFromOwnPage(request))) return undefined;
  return stores.users.ofToken(session, 'session', now);
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
