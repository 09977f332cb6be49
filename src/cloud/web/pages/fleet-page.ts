/** All units at a glance. */
import type { Actor } from '../../access/roles.ts';
import type { UnitView } from '../../rest/unit-view.ts';
import { type Html, html, path } from '../html.ts';
import { may, type Page, table } from '../layout.ts';
import { badge, count, moment } from '../words.ts';

export interface FleetUnit extends UnitView {
  readonly alertsToday: number;
  /** Items that are wanted and not installed yet. */
  readonly behind: number;
}

export interface FleetModel {
  /** Those of this page. */
  readonly units: readonly FleetUnit[];
  /** Of all units that the reader sees. */
  readonly totals: {
    readonly units: number;
    readonly online: number;
    readonly failing: number;
    readonly alerts: number;
  };
  readonly page: {
    readonly search: string;
    /** The last unit of the page before, '' on the first one. */
    readonly after: string;
    /** The last unit of this page, when there is another one. */
    readonly next: string | undefined;
  };
  readonly hints: ProvisionHints;
  readonly now: Date;
}

export interface ProvisionHints {
  readonly restUrl: string;
  /** Where the operator's files are on the machine of the cloud. */
  readonly pki: string;
}

export function failuresOf(unit: UnitView): number {
  const items = (unit.items ?? []).filter(({ state }) => state === 'failed').length;
  const instances = (unit.instances ?? []).flatMap((group) => group.instances);
  return items + instances.filter(({ state }) => state === 'failed').length;
}

/** Fewer are seen at a glance. */
const MANY = 8;

export function fleetPage({ units, totals, page, hints, now }: FleetModel, actor: Actor): Page {
  const { online, failing, alerts } = totals;
  const nobody =
    page.search === '' && page.after === ''
      ? html`No unit is a member yet. The first one comes in by provisioning, below.`
      : html`No unit is like “${page.search}”. <a href="/">Show all</a>`;
  return {
    title: 'Fleet',
    menu: 'Fleet',
    live: '*',
    body: html`<h1>Fleet</h1>
<dl class="tiles"><div><dt>Units</dt><dd>${totals.units}</dd></div><div><dt>Online</dt><dd>${online}</dd></div><div class="${failing > 0 ? 'bad' : ''}"><dt>With failures</dt><dd>${failing}</dd></div><div class="${alerts > 0 ? 'warn' : ''}"><dt>Alerts today</dt><dd>${alerts}</dd></div></dl>
${totals.units > MANY ? searchForm(page.search) : ''}
${table(
  'Units',
  ['Unit', 'Connection', 'State', 'Instances', 'Nodes', 'Model', 'Fleet'],
  units.map((unit) => unitRow(unit, now)),
  nobody,
)}
${pageLinks(page)}
${may(actor, 'POST /api/v11/units/provisioning') ? provisioning(hints, totals.units === 0) : ''}`,
  };
}

function searchForm(search: string): Html {
  return html`<form method="get" action="/" role="search" class="search"><label class="filter">Search <input type="search" name="q" value="${search}" placeholder="name, model, fleet, state" maxlength="128"></label><button>Search</button>${search === '' ? '' : html` <a href="/">Show all</a>`}</form>`;
}

function pageLinks({ search, after, next }: FleetModel['page']): Html | string {
  if (after === '' && next === undefined) return '';
  const query = (from: string | undefined) =>
    `/?${new URLSearchParams({ ...(search !== '' && { q: search }), ...(from !== undefined && { after: from }) })}`;
  return html`<nav class="pages" aria-label="Pages">${after === '' ? '' : html`<a href="${query(undefined)}">First page</a>`} ${next === undefined ? '' : html`<a href="${query(next)}">Next page</a>`}</nav>`;
}

function unitRow(unit: FleetUnit, now: Date): Html {
  const instances = (unit.instances ?? []).flatMap((group) => group.instances);
  const active = instances.filter(({ state }) => state === 'active').length;
  const nodes = unit.nodes ?? [];
  const failures = failuresOf(unit);
  return html`<tr data-row="units" id="unit-${unit.systemId}"><th scope="row"><a href="${path`/units/${unit.systemId}`}">${unit.systemId}</a></th>
<td>${unit.online ? badge('online') : html`${badge('offline')} <small>${unit.lastSeen ? moment(unit.lastSeen, now) : 'never seen'}</small>`}</td>
<td>${unit.status === 'new' ? badge('new') : failures > 0 ? html`${badge('failed')} <small>${failures}</small>` : unit.behind > 0 ? html`${badge('pending')} <small>${unit.behind} to come</small>` : unit.nodes === undefined ? html`<small>has not told of itself</small>` : html`as wanted`}${unit.alertsToday > 0 ? html` <a class="badge warn" href="${path`/units/${unit.systemId}/events`}">${count(unit.alertsToday, 'alert')}</a>` : ''}</td>
<td class="number">${unit.instances === undefined ? '–' : `${active} of ${instances.length}`}</td><td class="number">${unit.nodes === undefined ? '–' : `${nodes.filter(({ isConnected }) => isConnected).length} of ${nodes.length}`}</td>
<td>${unit.model.name}${unit.model.version === '' ? '' : ` ${unit.model.version}`}</td><td>${unit.fleet === '' ? '–' : unit.fleet}</td></tr>`;
}

function provisioning({ restUrl, pki }: ProvisionHints, open: boolean): Html {
  return html`<details class="card"${open ? html` open` : ''}><summary>Add a unit</summary>
<p>A unit becomes a member when its keys are made inside of its own tokens and this cloud signs them. From a terminal that reaches the blank unit:</p>
<pre><code>aosctl --cloud ${restUrl} --ca ${pki}/root.pem \\
  --cert ${pki}/operator.pem --key ${pki}/operator-key.pem \\
  provision &lt;address of the main node&gt; --nodes 1</code></pre>
<p>The address is that of the main node’s IAM in provisioning mode (port 8089). It then restarts, and appears here by itself. A unit that was a member before must be reset first, on its own page.</p></details>`;
}
