/**
 * How a browser comes in: a token that works once becomes a cookie that no script can read. An address alone lets nobody
 * in: whoever sends somebody else an address with a token of their own would have them work under their name.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AccessChanges } from '../access/access-changes.ts';
import type { Actor } from '../access/roles.ts';
import { readBody } from '../http/server.ts';
import { cookieOf, isFromOwnPage, SESSION_COOKIE } from '../rest/authenticate.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import type { Stores } from '../store/stores.ts';
import { html } from './html.ts';
import { bareLayout } from './layout.ts';
import { sendPage } from './send-page.ts';

const SESSION_MS = 12 * 3_600_000;
const MAX_FORM_BYTES = 4096;
const COOKIE_OPTIONS = 'Path=/; Secure; HttpOnly; SameSite=Strict';

export interface LoginParts {
  readonly database: CloudDatabase;
  readonly access: AccessChanges;
  readonly now: () => Date;
  readonly hostName: string;
}

const NO_TOKEN = 'This token was used already, has expired, or is none.';

/** `/login`: takes a token from a form; for one in the address it asks whether its user is meant. */
export async function login(parts: LoginParts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { database, now } = parts;
  if (request.method !== 'POST') {
    const token = tokenIn(new URL(request.url ?? '/', 'https://cloud').searchParams);
    if (token === '') return askForToken(parts, response, 200, undefined);
    const user = await database.read(({ users }) => users.ofToken(token, 'login', now()));
    return user ? askWhetherMeant(parts, response, token, user) : askForToken(parts, response, 403, NO_TOKEN);
  }
  const token = tokenIn(new URLSearchParams(await readBody(request, MAX_FORM_BYTES)));
  if (token === '') return askForToken(parts, response, 200, undefined);
  const isForeign = !isFromOwnPage(request);
  const session = isForeign ? undefined : await database.write(({ users }) => openSession(users, token, now()));
  if (session === undefined) return askForToken(parts, response, 403, NO_TOKEN);
  // The oldest session may have gone for it.
  parts.access.publish();
  response
    .writeHead(303, {
      location: '/',
      'set-cookie': `${SESSION_COOKIE}=${session}; ${COOKIE_OPTIONS}; Max-Age=${SESSION_MS / 1000}`,
      ...{ 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' },
    })
    .end();
}

const tokenIn = (fields: URLSearchParams): string => fields.get('token')?.trim() ?? '';

/** The token of a session for one that opens it; undefined for one that does not. */
async function openSession(users: Stores['users'], token: string, now: Date): Promise<string | undefined> {
  const user = await users.takeToken(token, 'login', now);
  return user && users.newToken(user.name, 'session', SESSION_MS, now);
}

export async function logout(
  { database, access, now }: LoginParts,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const session = cookieOf(request, SESSION_COOKIE);
  if (session !== undefined && isFromOwnPage(request)) {
    await database.write(({ users }) => users.takeToken(session, 'session', now()));
    access.publish();
  }
  response
    .writeHead(303, { location: '/login', 'set-cookie': `${SESSION_COOKIE}=; ${COOKIE_OPTIONS}; Max-Age=0` })
    .end();
}

function askForToken(
  { hostName }: LoginParts,
  response: ServerResponse,
  status: number,
  fault: string | undefined,
): void {
  const page = bareLayout(
    `Log in · ${hostName}`,
    html`<h1>${hostName}</h1>${fault === undefined ? '' : html`<p class="fault" role="alert">${fault}</p>`}
<p>Ask for a way in from a terminal, and open the address that it prints:</p><pre><code>aosctl login</code></pre>
<form method="post" action="/login" class="fields"><label>Or paste the token <input name="token" required autocomplete="off" spellcheck="false" autofocus></label><button class="main">Log in</button></form>
<p><small>A certificate of this cloud in the browser works, too.</small></p>`,
  );
  sendPage(response, status, page);
}

function askWhetherMeant(
  { hostName }: LoginParts,
  response: ServerResponse,
  token: string,
  { name, role }: Actor,
): void {
  const page = bareLayout(
    `Log in · ${hostName}`,
    html`<h1>${hostName}</h1>
<p>This address logs this browser in as <strong>${name}</strong> (${role}). Go on only if you have asked for it yourself, with <code>aosctl login</code>: what is done here is done in that name.</p>
<form method="post" action="/login"><input type="hidden" name="token" value="${token}"><button class="main" autofocus>Log in as ${name}</button></form>
<p><small>It works once.</small></p>`,
  );
  sendPage(response, 200, page);
}
