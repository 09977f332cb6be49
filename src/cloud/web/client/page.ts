/**
 * What pages do in the browser: forms become calls of the REST interface, news of units renew what is shown. The pages
 * themselves are made by the server; the new one is laid over the old one, so that focus, scroll and what is being
 * typed stay.
 */

import './chart-tips.js';

const RENEW_AFTER_MS = 400;
/** A page that takes long is renewed less often: news of a large fleet never end. */
const RENEW_PAUSE_FACTOR = 10;
/** Before a stream of news that was refused is asked for again. */
const LISTEN_AGAIN_MS = 3000;
const SHOW_MS = 6000;
/** News that change nothing that is shown. */
const DULL: ReadonlySet<string> = new Set(['acknowledged']);
const KINDS = [
  ...['connected', 'disconnected', 'status', 'desired', 'unacknowledged', 'refused', 'deployment', 'registered'],
  ...['reset', 'deleted', 'alerts', 'monitoring', 'log', 'state', 'certificates', 'node', 'envVars', 'conflict'],
  'subjects',
];

const main = document.querySelector<HTMLElement>('#main')!;
const told = document.querySelector<HTMLElement>('#told');

export function tell(text: string, isBad = false): void {
  const note = document.createElement('p');
  note.textContent = text;
  if (isBad) {
    note.className = 'bad';
    note.setAttribute('role', 'alert');
  }
  told?.append(note);
  setTimeout(() => note.remove(), isBad ? 2 * SHOW_MS : SHOW_MS);
}

/** Calls the REST interface. Throws with the words of a refusal. */
export async function ask(method: string, path: string, body?: BodyInit): Promise<unknown> {
  const response = await fetch(path, { method, ...(body !== undefined && { body }) });
  if (response.status === 401) {
    location.assign('/login');
    throw new Error('your session has ended');
  }
  const text = await response.text();
  if (response.ok) return text === '' ? undefined : JSON.parse(text);
  let detail = text;
  try {
    detail = (JSON.parse(text) as { detail?: string }).detail ?? text;
  } catch {
    // It is said as it came.
  }
  throw new Error(detail || `the cloud answered ${response.status}`);
}

// Renewal of what is shown.

/** Whether a part of the page is left alone because somebody works in it. */
const isBusy = (element: Element): boolean =>
  element instanceof HTMLFormElement &&
  (element.dataset.dirty !== undefined || element.contains(document.activeElement));

function overlay(old: Element, wanted: Element): void {
  if (isBusy(old)) return;
  for (const { name } of [...old.attributes]) {
    if (!wanted.hasAttribute(name) && name !== 'open' && name !== 'hidden') old.removeAttribute(name);
  }
  for (const { name, value } of [...wanted.attributes]) {
    // Opened and closed by people.
    if (name !== 'open' && name !== 'hidden' && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const before = [...old.childNodes];
  const after = [...wanted.childNodes];
  after.forEach((node, index) => {
    const former = before[index];
    if (!former) old.append(node);
    else if (former instanceof Element && node instanceof Element && former.tagName === node.tagName)
      overlay(former, node);
    else if (former.nodeType === Node.TEXT_NODE && node.nodeType === Node.TEXT_NODE) {
      if (former.nodeValue !== node.nodeValue) former.nodeValue = node.nodeValue;
    } else former.replaceWith(node);
  });
  for (const rest of before.slice(after.length)) rest.remove();
}

const linkState = document.querySelector<HTMLElement>('#link');

/** Says in the head of the page why it may be old; without a text, that it is not. */
function say(text: string): void {
  if (!linkState) return;
  linkState.textContent = text;
  linkState.hidden = text === '';
}

let isRenewing = false;
let isOld = false;
let renewedAt = new Date();
let isUnanswered = false;
let tookMs = 0;

async function renew(): Promise<void> {
  if (isRenewing) {
    isOld = true;
    return;
  }
  isRenewing = true;
  try {
    do {
      isOld = false;
      const begin = performance.now();
      const response = await fetch(location.href);
      if (response.redirected) location.assign(response.url);
      if (response.status >= 500) {
        // What stands is worth more than the news that there is none now.
        isUnanswered = true;
        say(`the cloud cannot answer now; this is from ${renewedAt.toLocaleTimeString()}`);
        setTimeout(renewSoon, LISTEN_AGAIN_MS);
        break;
      }
      if (isUnanswered && !wasLost) say('');
      isUnanswered = false;
      renewedAt = new Date();
      const page = new DOMParser().parseFromString(await response.text(), 'text/html');
      const wanted = page.querySelector('#main');
      if (wanted) overlay(main, wanted);
      tookMs = performance.now() - begin;
    } while (isOld && tookMs < RENEW_AFTER_MS);
  } catch {
    // The connection is gone; the stream of news comes back when it can, and renews.
  } finally {
    isRenewing = false;
    if (isOld) renewSoon();
  }
}

let isRenewalNear = false;
function renewSoon(): void {
  if (isRenewalNear) return;
  isRenewalNear = true;
  setTimeout(
    () => {
      isRenewalNear = false;
      void renew();
    },
    Math.max(RENEW_AFTER_MS, RENEW_PAUSE_FACTOR * tookMs),
  );
}

let news: EventSource | undefined;
let wasLost = false;

function listen(): void {
  const { live } = main.dataset;
  if (live === undefined || news) return;
  const source = new EventSource(live === '*' ? '/api/events' : `/api/units/${encodeURIComponent(live)}/events`);
  news = source;
  news.onopen = () => {
    if (!isUnanswered) say('');
    if (wasLost) renewSoon();
    wasLost = false;
  };
  news.onerror = () => {
    wasLost = true;
    // A browser that is refused does not ask again by itself.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => listenAgain(source), LISTEN_AGAIN_MS);
    say('no connection to the cloud');
  };
  for (const kind of KINDS) if (!DULL.has(kind)) news.addEventListener(kind, renewSoon);
}

function listenAgain(refused: EventSource): void {
  if (news !== refused) return;
  news = undefined;
  listen();
  // A session that has ended leads to the way in.
  renewSoon();
}

/** A page that nobody sees holds no connection. */
document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    news?.close();
    news = undefined;
  } else {
    listen();
    if (main.dataset.live !== undefined) renewSoon();
  }
});

// Forms.

type Field = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

function readField(field: Field): unknown {
  const { value } = field;
  if (field instanceof HTMLInputElement && field.type === 'checkbox') return field.checked;
  if (value === '' && field.dataset.always === undefined) return undefined;
  if (field instanceof HTMLInputElement && field.type === 'number') return Number(value);
  if (field.dataset.as === 'time') return new Date(value).toISOString();
  if (field.dataset.as !== 'list') return value;
  return value.split(',').flatMap((part) => (part.trim() === '' ? [] : [part.trim()]));
}

/** Path and body of a form: `{name}` in the path takes a field, `*` is the whole body, `a+b` holds two values. */
function callOf(form: HTMLFormElement): { path: string; body: string | undefined } {
  let path = form.dataset.path!;
  let whole: string | undefined;
  const body: Record<string, unknown> = {};
  const put = (name: string, value: unknown) => {
    if (path.includes(`{${name}}`)) path = path.replace(`{${name}}`, encodeURIComponent(String(value)));
    else if (value !== undefined) body[name] = value;
  };
  for (const field of form.querySelectorAll<Field>('[name]')) {
    const { name } = field;
    if (name === '*') whole = field.value;
    else if (name.includes('+')) {
      const values = JSON.parse(field.value) as string[];
      for (const [index, part] of name.split('+').entries()) put(part, values[index]);
    } else put(name, readField(field));
  }
  return { path, body: whole ?? (Object.keys(body).length === 0 ? undefined : JSON.stringify(body)) };
}

/** Asks before what cannot be taken back. */
function agreed(text: string): Promise<boolean> {
  const dialog = document.querySelector<HTMLDialogElement>('#ask')!;
  dialog.querySelector('#ask-text')!.textContent = text;
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

async function submit(form: HTMLFormElement): Promise<void> {
  const { confirm, said, next, method } = form.dataset;
  if (confirm !== undefined && !(await agreed(confirm))) return;
  const buttons = form.querySelectorAll('button');
  for (const button of buttons) button.disabled = true;
  try {
    const { path, body } = callOf(form);
    await ask(method!, path, body);
    delete form.dataset.dirty;
    if (next !== undefined) {
      location.assign(next);
      return;
    }
    const frame = form.closest('details');
    if (frame) {
      frame.open = false;
      frame.querySelector('summary')?.focus();
    }
    form.reset();
    tell(said ?? 'Done');
    renewSoon();
  } catch (error) {
    tell((error as Error).message, true);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

document.addEventListener('submit', (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || form.dataset.method === undefined) return;
  event.preventDefault();
  void submit(form);
});

document.addEventListener('input', (event) => {
  const field = event.target as HTMLElement;
  const form = field.closest('form');
  if (form?.dataset.method !== undefined) form.dataset.dirty = '';
});

document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  const menu = document.activeElement?.closest<HTMLDetailsElement>('details.menu[open]');
  if (!menu) return;
  menu.open = false;
  menu.querySelector('summary')?.focus();
});

/** A menu is done with when somebody goes on elsewhere; a question that it asks belongs to it. */
document.addEventListener('pointerdown', (event) => {
  const target = event.target as Element;
  if (target.closest('dialog')) return;
  for (const menu of document.querySelectorAll<HTMLDetailsElement>('details.menu[open]')) {
    if (!menu.contains(target)) menu.open = false;
  }
});

if (document.querySelector('[data-publish]')) {
  const { servePublishing } = await import('./publish.js');
  servePublishing(ask, tell);
}
listen();
