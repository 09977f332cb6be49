/** The pages of a cloud, on the port of the REST interface. */
import type { ServerResponse } from 'node:http';
import { AosError, asAosError, isAosError } from '../../core/index.ts';
import { statusOf } from '../http/problem.ts';
import { actorOf } from '../rest/authenticate.ts';
import type { RestParts } from '../rest/parts.ts';
import type { Pages } from '../rest/rest-server.ts';
import { loadAssets } from './assets.ts';
import { type Html, html } from './html.ts';
import { bareLayout, layout, type Page } from './layout.ts';
import { login, logout } from './login.ts';
import { logFile, pageAt } from './page-models.ts';
import { sendPage, sendText, sendTexts } from './send-page.ts';

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

/** What people see of a cloud with a browser. */
export function webPages(parts: RestParts): Pages {
  return { show: pageListener(parts), sendFault };
}

function pageListener(parts: RestParts): Pages['show'] {
  const assets = loadAssets();
  const { database, access, now, hostName, logger } = parts;
  const loginParts = { database, access, now, hostName };
  return async (request, response) => {
    const url = URL.parse(request.url ?? '/', 'https://cloud');
    if (!url) throw new AosError('invalidArgument', 'this is no address of a page');
    const { pathname } = url;
    if (pathname.startsWith('/assets/')) {
      const name = pathname.slice('/assets/'.length);
      const text = Object.hasOwn(assets, name) ? assets[name] : undefined;
      if (text === undefined) sendPage(response, 404, 'there is nothing here');
      else sendText(response, text, CONTENT_TYPES[name.split('.').at(-1)!] ?? 'text/plain', 'no-cache');
      return;
    }
    if (pathname === '/login') return login(loginParts, request, response);
    if (pathname === '/logout' && request.method === 'POST') return logout(loginParts, request, response);
    const actor = await actorOf(request, database, now());
    if (!actor) {
      response.writeHead(303, { location: '/login', 'cache-control': 'no-store' }).end();
      return;
    }
    let page: Page;
    let status = 200;
    try {
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        throw new AosError('notSupported', 'pages are only read; changes go to /api/');
      }
      // Events of a moment ago are to be seen, too.
      await database.flush();
      const file = await database.read((stores) => logFile(stores, actor, pathname));
      if (file !== undefined) {
        await sendTexts(response, file, 'text/plain; charset=utf-8', 'no-store');
        return;
      }
      page = await database.read((stores) => pageAt(parts, stores, actor, url));
    } catch (error) {
      // A file that was begun cannot become a page.
      if (response.headersSent) throw error;
      const { message } = asAosError(error);
      status = statusOf(error);
      if (status >= 500) logger.error({ path: pathname, error: message }, 'a page failed');
      const title = isAosError(error, 'notFound') ? 'Not found' : 'It did not work';
      page = { title, menu: '', body: faultBody(title, status, message, 'Back to the start') };
    }
    sendPage(response, status, layout(page, actor, hostName));
  };
}

/** What somebody sees who cannot even be recognised now. */
function sendFault(response: ServerResponse, status: number, message: string): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const title = 'It did not work';
  sendPage(response, status, bareLayout(title, faultBody(title, status, message, 'Try again')));
}

/** A fault of the cloud itself comes with what that means, and what it does not. */
function faultBody(title: string, status: number, message: string, link: string): Html {
  const comfort = html`<p>The cloud cannot read or keep something now; its log says more. Nothing was changed. Units go on with what they have, and repeat what they could not report.</p>`;
  return html`<h1>${title}</h1><p class="fault" role="alert">${message}</p>${status >= 500 ? comfort : ''}<p><a class="button" href="/">${link}</a></p>`;
}
