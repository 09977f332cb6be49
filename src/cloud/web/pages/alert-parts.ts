/** Alerts of a unit in words. */
import type { StoredAlert } from '../../store/alerts.ts';
import { type Html, html } from '../html.ts';
import { badge, bytes, moment, shorten, spaced } from '../words.ts';
import { nameOf } from './unit-parts.ts';

/** CPU is measured in DMIPS, all else in bytes. */
const amount = (parameter: unknown, value: unknown): string =>
  typeof value !== 'number' ? '' : parameter === 'cpu' ? `${Math.round(value)} DMIPS` : bytes(value);

const quotaText = ({ parameter, value }: StoredAlert['data']): string =>
  `${parameter ?? ''} is at ${amount(parameter, value)}`;

const downloadText = ({ digest, state, downloadedBytes, totalBytes, reason }: StoredAlert['data']): string =>
  `download of ${shorten(String(digest), 20)} ${state}: ${bytes(Number(downloadedBytes))} of ${bytes(Number(totalBytes))}${reason === undefined ? '' : `; ${reason}`}`;

export function alertText({ tag, data }: StoredAlert): string {
  const of = (value: unknown) => (value === undefined ? '' : nameOf(value as { id?: string; codename?: string }));
  const where = [
    of(data.node),
    of(data.item),
    of(data.subject),
    data.instance === undefined ? '' : String(data.instance),
  ];
  const what = data.message ?? (tag === 'downloadProgressAlert' ? downloadText(data) : quotaText(data));
  return `${where.filter((part) => part !== '').join('/')}${where.some((part) => part !== '') ? ': ' : ''}${what}${tag === 'coreAlert' ? ` (${data.coreComponent})` : ''}`;
}

export function alertRows(alerts: readonly StoredAlert[], now: Date): Html[] {
  return alerts.map(
    (alert) =>
      html`<tr><td>${moment(alert.at, now)}</td><td>${badge(spaced(alert.tag.replace(/Alert$/, '')))}</td><td>${alertText(alert)}</td></tr>`,
  );
}
