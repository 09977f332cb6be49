/** A unit: what is wanted, what is, on which nodes. */
import type { PublishedItem } from '../../store/items.ts';
import { type Html, html, path } from '../html.ts';
import { call, may, type Page, table } from '../layout.ts';
import { badge } from '../words.ts';
import {
  errorText,
  INSTANCE_COLUMNS,
  instanceRows,
  instancesOf,
  nameOf,
  nodePath,
  type UnitModel,
  unitHead,
} from './unit-parts.ts';

export interface UnitPageModel extends UnitModel {
  /** What could be deployed. */
  readonly items: readonly PublishedItem[];
}

export function unitPage(model: UnitPageModel): Page {
  const { unit, actor, wanted, items } = model;
  const instances = instancesOf(unit);
  const canDeploy = may(actor, 'PUT /api/units/:unit/deployments/:item');
  return {
    title: unit.systemId,
    menu: 'Fleet',
    live: unit.systemId,
    body: html`${unitHead(model, 'Overview')}
<section aria-labelledby="items"><h2 id="items">Items</h2>
${table(
  'Items',
  ['Item', 'State', 'Wanted', 'On the unit', 'Instances', ''],
  itemRows(model, canDeploy),
  'Nothing is wanted of this unit, and nothing is on it.',
)}
${canDeploy && items.length > 0 ? deployForm(unit.systemId, items) : ''}</section>
<section aria-labelledby="instances"><h2 id="instances">Instances</h2>
${table('Instances', INSTANCE_COLUMNS, instanceRows(unit, instances), wanted.length > 0 ? 'The unit has reported no instance yet.' : 'No instance runs here.')}</section>
<section aria-labelledby="nodes"><h2 id="nodes">Nodes</h2>
${table('Nodes', ['Node', 'State', 'Type', 'System', 'Instances', 'Runtimes'], nodeRows(model), 'The unit has not told of its nodes yet.')}</section>
${facts(model)}`,
  };
}

function itemRows({ unit, wanted }: UnitPageModel, canDeploy: boolean): Html[] {
  const instances = instancesOf(unit);
  const reported = unit.items ?? [];
  const names = [...new Set([...wanted.map(({ itemId }) => itemId), ...reported.map(({ item }) => nameOf(item))])];
  return names.map((itemId) => {
    const wishes = wanted.filter((entry) => entry.itemId === itemId);
    const states = reported.filter(({ item }) => nameOf(item) === itemId);
    const version = wishes[0]?.version;
    // What is not wanted any more goes, unless it has failed: that is said.
    const current = states.find((entry) =>
      version === undefined ? entry.state === 'failed' : entry.version === version,
    );
    const state = current?.state ?? (version === undefined ? 'removing' : 'pending');
    const count = wishes.reduce((sum, { numInstances }) => sum + numInstances, 0);
    const active = instances.filter((entry) => entry.itemId === itemId && entry.state === 'active').length;
    const own = wishes.find(({ because }) => because === 'deployed on this unit');
    return html`<tr><th scope="row">${itemId}</th><td>${badge(state)}${errorText(current?.errorInfo)}</td>
<td>${version ?? '–'}${wishes.map(({ because }) => html`<br><small>${because}</small>`)}</td>
<td>${states.map((entry) => html`${entry.version}<br>`)}</td><td class="number">${active}${count > 0 ? ` of ${count}` : ''}</td>
<td class="actions">${own && canDeploy ? itemActions(unit.systemId, itemId, own.formerVersion, own.numInstances) : ''}</td></tr>`;
  });
}

function itemActions(systemId: string, itemId: string, former: string | undefined, count: number): Html {
  const at = path`/api/units/${systemId}/deployments/${itemId}`;
  return html`<details class="menu"><summary aria-label="Change ${itemId}">Change</summary><div>
${call('PUT', at, html`<label>Instances <input type="number" name="numInstances" min="0" max="10000" value="${count}" required></label><button>Scale</button>`, { said: `${itemId} is scaled` })}
${former === undefined ? '' : call('POST', `${at}/rollback`, html`<button>Roll back to ${former}</button>`, { said: `${itemId} goes back to ${former}`, confirm: `Bring ${itemId} back to ${former} on ${systemId}?` })}
${call('DELETE', at, html`<button class="danger">Remove</button>`, { said: `${itemId} is removed`, confirm: `Remove ${itemId} from ${systemId}? Its instances stop.` })}</div></details>`;
}

function deployForm(systemId: string, items: readonly PublishedItem[]): Html {
  const names = [...new Set(items.map(({ id }) => id))];
  return html`<details class="card"><summary>Deploy an item</summary>
${call(
  'PUT',
  `${path`/api/units/${systemId}/deployments/`}{item}`,
  html`<div class="fields"><label>Item and version <select name="item+version" required>${names.map(
    (id) =>
      html`<optgroup label="${id}">${items
        .filter((item) => item.id === id)
        .toReversed()
        .map(
          ({ version, verification }) =>
            html`<option value="${JSON.stringify([id, version])}">${id} ${version}${verification === 'valid' ? '' : ` (${verification})`}</option>`,
        )}</optgroup>`,
  )}</select></label>
<label>Instances <input type="number" name="numInstances" min="0" max="10000" placeholder="as published"></label>
<label>Priority <input type="number" name="priority" min="0" max="999999" placeholder="as published"></label>
<label>Subject <input name="subject" maxlength="64" placeholder="default"></label></div><button class="main">Deploy</button>`,
  { said: 'It is wanted; the unit is told now, or when it comes' },
)}</details>`;
}

function nodeRows({ unit }: UnitPageModel): Html[] {
  const instances = instancesOf(unit);
  return (unit.nodes ?? []).map((node) => {
    const nodeId = node.identity.codename;
    const on = instances.filter((instance) => instance.nodeId === nodeId);
    const active = on.filter(({ state }) => state === 'active').length;
    return html`<tr><th scope="row"><a href="${nodePath(unit.systemId, nodeId)}">${node.identity.title || nodeId}</a></th><td>${badge(node.state)}${node.isConnected ? '' : html` ${badge('not connected')}`}${errorText(node.errorInfo)}</td><td>${nameOf(node.nodeGroupSubject)}</td><td>${node.osInfo.os} ${node.osInfo.version ?? ''}</td><td class="number">${active} of ${on.length}</td><td>${(node.runtimes ?? []).map(({ runtimeType }) => runtimeType).join(', ')}</td></tr>`;
  });
}

function facts({ unit, sets, subjects, actor }: UnitPageModel): Html {
  const config = unit.unitConfig?.[0];
  return html`<section aria-labelledby="facts"><h2 id="facts">More</h2><dl class="facts">
<div><dt>Unit configuration</dt><dd>${config ? html`${config.version ?? ''} ${badge(config.state)}` : 'not reported'}</dd></div>
<div><dt>Subjects</dt><dd>${subjects.join(', ') || 'none'}</dd></div><div><dt>Unit sets</dt><dd>${sets.join(', ') || 'none'}</dd></div>
<div><dt>Fleet</dt><dd>${unit.fleet === '' ? 'none' : unit.fleet}${
    may(actor, 'PUT /api/units/:unit/fleet')
      ? html`<details class="menu"><summary>Change</summary><div>${call('PUT', path`/api/units/${unit.systemId}/fleet`, html`<label>Fleet <input name="fleet" data-always maxlength="64" value="${unit.fleet}"></label><button>Move</button>`, { said: 'The unit has moved' })}</div></details>`
      : ''
  }</dd></div></dl></section>`;
}
