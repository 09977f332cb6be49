/** What all nodes and instances of a unit use. */
import { html, path } from '../html.ts';
import { type Page, table } from '../layout.ts';
import { bytes } from '../words.ts';
import { nodePath, type UnitModel, unitHead } from './unit-parts.ts';
import { charts, isOf, rangeLinks, type Usage } from './usage-parts.ts';

export function monitoringPage(model: UnitModel, usage: Usage): Page {
  const { unit } = model;
  const nodes = unit.nodes ?? [];
  const sections = usage.measured
    .filter(({ series }) => series.startsWith('node:'))
    .map((measured) => {
      const node = nodes.find((entry) => isOf(entry.identity.codename)(measured));
      const name = measured.series.slice('node:'.length);
      return html`<section><h2><a href="${nodePath(unit.systemId, name)}">${node?.identity.title || name}</a></h2>${charts(usage, measured, node ? { cpu: node.maxDmips, ram: node.totalRam } : {})}</section>`;
    });
  const instances = usage.measured.filter(({ series }) => series.startsWith('instance:'));
  const rows = instances.map(({ series, samples }) => {
    const name = series.slice('instance:'.length);
    const last = samples.at(-1);
    return html`<tr><th scope="row"><a href="${path`/units/${unit.systemId}`}/instances/${name.split('/').map(encodeURIComponent).join('/')}">${name}</a></th><td class="number">${last ? `${Math.round(last.cpu)} DMIPS` : '–'}</td><td class="number">${last ? bytes(last.ram) : '–'}</td><td class="number">${last ? `${bytes(last.download)} / ${bytes(last.upload)}` : '–'}</td></tr>`;
  });
  return {
    title: `Monitoring of ${unit.systemId}`,
    menu: 'Fleet',
    live: unit.systemId,
    body: html`${unitHead(model, 'Monitoring')}${rangeLinks(path`/units/${unit.systemId}/monitoring`, usage.range)}
${sections.length === 0 ? html`<p class="empty">The unit has sent no measurements in this time. It sends them about once a minute while it is online.</p>` : sections}
${rows.length === 0 ? '' : html`<section><h2>Instances</h2>${table('Usage of instances', ['Instance', 'CPU', 'Memory', 'Down / up today'], rows, '')}</section>`}`,
  };
}
