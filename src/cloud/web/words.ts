/** How pages say things: amounts, times, states. Pure. */
import { type Html, html } from './html.ts';

const KIB = 1024;
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** `1.5 GiB`. */
export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  for (; value >= KIB && unit < UNITS.length - 1; unit += 1) value /= KIB;
  return `${unit === 0 || value >= 100 ? Math.round(value) : Number(value.toFixed(1))} ${UNITS[unit]}`;
}

/** `1 alert`, `2 alerts`. */
export function count(amount: number, what: string): string {
  return `${amount} ${what}${amount === 1 ? '' : 's'}`;
}

/** `systemQuota` as people write it: `system quota`. */
export function spaced(name: string): string {
  return name.replace(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const YEAR_MS = 365.25 * DAY_MS;

/** `5 min ago`, `in 3 days`. */
export function distance(atMs: number, nowMs: number): string {
  const ms = Math.abs(nowMs - atMs);
  const [amount, unit] =
    ms < MINUTE_MS
      ? [Math.round(ms / 1000), 's']
      : ms < HOUR_MS
        ? [Math.round(ms / MINUTE_MS), 'min']
        : ms < 2 * DAY_MS
          ? [Math.round(ms / HOUR_MS), 'h']
          : ms < 2 * YEAR_MS
            ? [Math.round(ms / DAY_MS), 'days']
            : [Math.round(ms / YEAR_MS), 'years'];
  if (ms < 5000) return 'just now';
  return atMs <= nowMs ? `${amount} ${unit} ago` : `in ${amount} ${unit}`;
}

/** A moment as people say it, with the exact time beside it. */
export function moment(at: string | number, now: Date): Html {
  const time = new Date(at);
  const iso = time.toISOString();
  return html`<time datetime="${iso}" title="${iso.replace('T', ' ').slice(0, 19)} UTC">${distance(time.getTime(), now.getTime())}</time>`;
}

/** How a state is coloured; its word stands there too. */
const TONES: Readonly<Record<string, string>> = {
  ...{ online: 'good', active: 'good', installed: 'good', provisioned: 'good', valid: 'good', completed: 'good' },
  ...{ updated: 'good', running: 'busy', activating: 'busy', downloading: 'busy', pending: 'busy', installing: 'busy' },
  ...{ removing: 'busy', failed: 'bad', error: 'bad', rejected: 'bad', stopped: 'bad', paused: 'warn' },
  ...{ unprovisioned: 'warn', 'not connected': 'bad', new: 'warn' },
};

export function badge(state: string): Html {
  return html`<span class="badge ${TONES[state] ?? 'calm'}">${state}</span>`;
}

export function shorten(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}
