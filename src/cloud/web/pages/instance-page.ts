/** One instance: why it is there, how it does, and what it uses. */
import { html, path } from '../html.ts';
import { type Page, table } from '../layout.ts';
import { badge } from '../words.ts';
import { alertRows } from './alert-parts.ts';
import { errorText, type InstanceRow, instancesOf, nameOf, nodePath, type UnitModel, unitHead } from './unit-parts.ts';
import { charts, rangeLinks, type Usage } from './usage-parts.ts';

export function instancePage(model: UnitModel, instance: InstanceRow, usage: Usage): Page {
  const { unit, wanted, now } = model;
  const { itemId, subjectId, index } = instance;
  const found = instancesOf(unit).find(
    (entry) => entry.itemId === itemId && entry.subjectId === subjectId && entry.index === index,
  );
  const wish = wanted.find((entry) => entry.itemId === itemId && entry.subject === subjectId);
  const item = (unit.items ?? []).find((entry) => nameOf(entry.item) === itemId && entry.version === wish?.version);
  const measured = usage.measured.find(({ series }) => series === `instance:${itemId}/${subjectId}/${index}`);
  const alerts = usage.alerts.filter(({ data }) => nameOf((data.item ?? {}) as { id?: string }) === itemId);
  return {
    title: `${itemId} ${index} of ${unit.systemId}`,
    menu: 'Fleet',
    live: unit.systemId,
    body: html`${unitHead(model, undefined)}<div class="head"><h2>${itemId} <small>${subjectId}/${index}</small></h2>${found ? badge(found.state) : badge('not reported')}</div>
<section><h2>Why</h2><ol class="why">
<li>${wish ? html`The cloud wants ${wish.numInstances} of version ${wish.version}: ${wish.because}.` : html`The cloud does not want it any more.`}</li>
<li>${item ? html`The unit has the item: ${badge(item.state)}${errorText(item.errorInfo)}` : html`The unit has not reported this version of the item.`}</li>
<li>${found ? (found.nodeId === '' ? html`It could not be placed on a node.` : html`It was placed on <a href="${nodePath(unit.systemId, found.nodeId)}">${found.nodeId}</a>, runtime ${found.runtimeId}, in version ${found.version}.`) : html`The unit has reported no such instance.`}</li>
${found ? html`<li>Its state is ${badge(found.state)}${errorText(found.errorInfo)}${found.errorInfo?.exitCode ? html`<p>exit code ${found.errorInfo.exitCode}</p>` : ''}</li>` : ''}</ol></section>
<section><h2>Alerts</h2>${table('Alerts', ['When', 'Kind', 'What'], alertRows(alerts, now), 'No alerts in this time.')}</section>
<section><h2>Usage</h2>${rangeLinks(path`/units/${unit.systemId}/instances/${itemId}/${subjectId}/${index}`, usage.range)}${measured ? charts(usage, measured, {}) : html`<p class="empty">No measurements in this time.</p>`}</section>`,
  };
}
