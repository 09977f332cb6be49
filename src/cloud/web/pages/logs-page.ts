/** Logs of a unit: those that came, and the form that asks for more. */
import type { NodeLog } from '../../rest/log-view.ts';
import type { LogRequestRow } from '../../store/log-parts.ts';
import { type Html, html, path } from '../html.ts';
import { call, may, type Page, table } from '../layout.ts';
import { badge, moment } from '../words.ts';
import { instancesOf, type UnitModel, unitHead } from './unit-parts.ts';

export interface LogEntry extends LogRequestRow {
  readonly nodes: readonly NodeLog[];
}

const LOG_KINDS = [
  ['systemLog', 'of the system'],
  ['instanceLog', 'of instances'],
  ['crashLog', 'of crashes'],
] as const;

/** How much of a log a page shows; the file has all. */
const SHOWN_CHARACTERS = 50_000;

export function logsPage(model: UnitModel, logs: readonly LogEntry[], shown: LogEntry | undefined): Page {
  const { unit, actor, now } = model;
  const base = path`/units/${unit.systemId}/logs`;
  const rows = logs.map(
    ({ correlationId, at, request, nodes }) =>
      html`<tr><td><a href="${base}?show=${correlationId}">${moment(at, now)}</a></td><td>${LOG_KINDS.find(([type]) => type === request.logType)?.[1] ?? ''}</td><td>${String(request.itemId ?? 'all')}</td><td>${nodes.length === 0 ? badge('pending') : nodes.map(({ nodeId, status, complete }) => html`${nodeId} ${badge(status === 'error' ? 'failed' : complete ? 'complete' : 'downloading')} `)}</td></tr>`,
  );
  return {
    title: `Logs of ${unit.systemId}`,
    menu: 'Fleet',
    live: unit.systemId,
    body: html`${unitHead(model, 'Logs')}
${may(actor, 'POST /api/units/:unit/logs') ? logForm(model) : ''}
${shown ? logText(base, shown) : ''}
<section><h2>Asked for</h2>${table('Logs', ['Asked', 'Kind', 'Item', 'Nodes'], rows, 'No log was asked for yet.')}</section>`,
  };
}

function logForm({ unit }: UnitModel): Html {
  if (!unit.online) return html`<p class="notice">The unit is offline: it can be asked for logs when it is back.</p>`;
  const items = [...new Set(instancesOf(unit).map(({ itemId }) => itemId))];
  return html`<section class="card"><h2>Ask for a log</h2>${call(
    'POST',
    path`/api/units/${unit.systemId}/logs`,
    html`<div class="fields"><label>Kind <select name="logType">${LOG_KINDS.map(([type, words]) => html`<option value="${type}">${words}</option>`)}</select></label>
<label>Item <select name="itemId"><option value="">all</option>${items.map((id) => html`<option>${id}</option>`)}</select></label>
<label>Node <select name="nodeIds" data-as="list"><option value="">all</option>${(unit.nodes ?? []).map(({ identity }) => html`<option>${identity.codename}</option>`)}</select></label>
<label>From <input type="datetime-local" name="from" data-as="time"></label><label>Till <input type="datetime-local" name="till" data-as="time"></label></div><button class="main">Ask</button>`,
    { said: 'The unit is asked; the log appears below' },
  )}</section>`;
}

function logText(base: string, { correlationId, nodes }: LogEntry): Html {
  return html`<section id="log"><h2>Log</h2>${
    nodes.length === 0
      ? html`<p class="empty">Nothing has come yet.</p>`
      : nodes.map(
          ({ nodeId, status, error, text }) =>
            html`<h3>${nodeId} ${status === 'ok' ? '' : badge(status)} <a class="button quiet" href="${base}/${correlationId}/${encodeURIComponent(nodeId)}.txt" download>Download</a></h3>${error === undefined ? '' : html`<p class="fault">${error}</p>`}<pre class="log" tabindex="0">${text.slice(-SHOWN_CHARACTERS)}</pre>`,
        )
  }</section>`;
}
