/** What has happened to a unit. */
import type { StoredAlert } from '../../store/alerts.ts';
import type { HistoryStore } from '../../store/history.ts';
import { eventText, eventWords } from '../event-words.ts';
import { html } from '../html.ts';
import { type Page, table } from '../layout.ts';
import { moment, shorten } from '../words.ts';
import { alertRows } from './alert-parts.ts';
import { type UnitModel, unitHead } from './unit-parts.ts';

export function eventsPage(
  model: UnitModel,
  alerts: readonly StoredAlert[],
  events: Awaited<ReturnType<HistoryStore['events']>>,
): Page {
  const { unit, now } = model;
  const rows = events.map(
    ({ at, event, data }) =>
      html`<tr><td>${moment(at, now)}</td><td>${eventWords(event, data)}</td><td>${shorten(eventText(data), 200)}</td></tr>`,
  );
  return {
    title: `Events of ${unit.systemId}`,
    menu: 'Fleet',
    live: unit.systemId,
    body: html`${unitHead(model, 'Events')}
<section><h2>Alerts</h2>${table('Alerts', ['When', 'Kind', 'What'], alertRows(alerts, now), 'No alerts. Good.')}</section>
<section><h2>History</h2>${table('History', ['When', 'Event', 'About'], rows, 'Nothing has happened yet.')}</section>`,
  };
}
