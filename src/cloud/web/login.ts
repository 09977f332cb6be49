/** How a browser comes in: a token that works once becomes a cookie that no script can read. */
import type { IncomingMessage, ServerResponse } from 'node:http';
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
  readonly now: () => Date;
  readonly hostName: string;
}

/** `/login`: takes a token from the address or from the form, or shows the form. */
export async function login(parts: LoginParts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const isForm = request.method === 'POST';
  const fields = isForm
    ? new URLSearchParams(await readBody(request, MAX_FORM_BYTES))
    : new URL(request.url ?? '/', 'https://cloud').searchParams;
  const token = fields.get('token')?.trim() ?? '';
  if (token === '') return askForToken(parts, response, 200, undefined);
  const { database, now } = parts;
  const isForeign = isForm && !isFromOwnPage(request);
  const session = isForeign ? undefined : await database.write(({ users }) => openSession(users, token, now()));
  if (session === undefined) {
    return askForToken(parts, response, 403, 'This token was used already, has expired, or is none.');
  }
  response
    .writeHead(303, {
      location: '/',
      'set-cookie': `${SESSION_COOKIE}=${session}; ${COOKIE_OPTIONS}; Max-Age=${SESSION_MS / 1000}`,
      ...{ 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' },
    })
    .end();
}

/** The token of a session for one that opens it; undefined for one that does not. */
async function openSession(users: Stores['users'], token: string, now: Date): Promise<string | undefined> {
  const user = await users.takeToken(token, 'login', now);
  return user && users.newToken(user.name, 'session', SESSION_MS, now);
}

export async function logout(
  { database, now }: LoginParts,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const session = cookieOf(request, SESSION_COOKIE);
  if (session !== undefined && isFromOwnPage(request)) {
    await database.write(({ users }) => users.takeToken(session, 'session', now()));
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
