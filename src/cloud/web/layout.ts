/** The frame of every page. */
import { ACCESS, type Method } from '../access/access-table.ts';
import type { Actor } from '../access/roles.ts';
import { escapeHtml, Html, html, type Part } from './html.ts';

export interface Page {
  readonly title: string;
  /** The entry of the menu that the page belongs to. */
  readonly menu: string;
  readonly body: Html;
  /** The unit whose news renew the page, `*` for those of all. Absent: it does not renew itself. */
  readonly live?: string;
}

const MENU: readonly (readonly [label: string, path: string, call: string])[] = [
  ['Fleet', '/', 'GET /api/units'],
  ['Items', '/items', 'GET /api/items'],
  ['Campaigns', '/campaigns', 'GET /api/campaigns'],
  ['Groups', '/groups', 'GET /api/subjects'],
  ['Certificates', '/certificates', 'GET /api/certificates'],
  ['People', '/people', 'GET /api/users'],
];

/** Whether the table of access lets somebody make a call, given as `METHOD /pattern`. */
export function may(actor: Actor, call: string): boolean {
  const [method, pattern] = call.split(' ') as [Method, string];
  return ACCESS.some((row) => row.method === method && row.pattern === pattern && row.roles.includes(actor.role));
}

export function layout(page: Page, actor: Actor, hostName: string): string {
  const entries = MENU.filter(([, , call]) => may(actor, call)).map(
    ([label, path]) => html`<a href="${path}"${page.menu === label ? html` aria-current="page"` : ''}>${label}</a>`,
  );
  return document(
    `${page.title} · ${hostName}`,
    html`<a class="skip" href="#main">Skip to content</a>
<header>
  <a class="brand" href="/"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M7 18a5 5 0 0 1-.6-9.96A6 6 0 0 1 18 9.1 4.5 4.5 0 0 1 17.5 18z"/></svg><span>${hostName}</span></a>
  <nav aria-label="Main">${entries}</nav>
  <span id="link" class="link" role="status" hidden></span>
  <form class="who" method="post" action="/logout"><span title="${actor.role}">${actor.name}</span><button class="quiet">Log out</button></form>
</header>
<main id="main" tabindex="-1"${page.live === undefined ? '' : html` data-live="${page.live}"`}>${page.body}</main>
<div id="told" role="status" aria-live="polite"></div>
<dialog id="ask" aria-labelledby="ask-text"><form method="dialog"><p id="ask-text"></p><div class="row end"><button value="no">Cancel</button><button value="yes" class="danger">Go on</button></div></form></dialog>
<noscript><p class="notice">Without JavaScript the pages show everything, but do not renew themselves, and nothing can be changed.</p></noscript>`,
  );
}

/** A page for somebody who is not logged in. */
export function bareLayout(title: string, body: Html): string {
  return document(title, html`<main id="main" class="bare">${body}</main>`);
}

function document(title: string, body: Html): string {
  return `<!doctype html>\n${
    html`<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>${title}</title><link rel="stylesheet" href="/assets/style.css"><link rel="icon" href="/assets/icon.svg"><script type="module" src="/assets/page.js"></script></head><body>${body}</body></html>`
      .text
  }\n`;
}

/** A table that scrolls in its own frame on a narrow screen; without rows it says what that means. */
export function table(caption: string, columns: readonly string[], rows: readonly Html[], empty: Part): Html {
  if (rows.length === 0) return html`<p class="empty">${empty}</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table><caption class="hidden">${caption}</caption><thead><tr>${columns.map((column) => html`<th scope="col">${column}</th>`)}</tr></thead><tbody>${rows.map((row) => labelled(row, columns))}</tbody></table></div>`;
}

/** Cells carry the title of their column: on a narrow screen they stand below each other, without a head. */
function labelled(row: Html, columns: readonly string[]): Html {
  let index = 0;
  const text = row.text.replace(/<t[dh]\b/g, (tag) => {
    const column = columns[index] ?? '';
    index += 1;
    return column === '' ? tag : `${tag} data-label="${escapeHtml(column)}"`;
  });
  return new Html(text);
}

/** A form whose fields become the JSON body of a call of the REST interface. */
export function call(
  method: 'PUT' | 'POST' | 'DELETE',
  path: string,
  body: Part,
  options: {
    readonly confirm?: string;
    readonly next?: string;
    readonly said?: string;
    readonly inline?: boolean;
  } = {},
): Html {
  const { confirm, next, said, inline } = options;
  return html`<form${inline ? html` class="inline"` : ''} data-method="${method}" data-path="${path}"${confirm === undefined ? '' : html` data-confirm="${confirm}"`}${next === undefined ? '' : html` data-next="${next}"`}${said === undefined ? '' : html` data-said="${said}"`}>${body}</form>`;
}
