/** All campaigns, and one of them. */
import type { UnitProgress } from '../../domain/campaign-progress.ts';
import type { Campaign } from '../../store/campaigns.ts';
import type { PublishedItem } from '../../store/items.ts';
import type { UnitSet } from '../../store/unit-sets.ts';
import { html, path } from '../html.ts';
import { call, type Page, table } from '../layout.ts';
import { badge, moment } from '../words.ts';

export function campaignsPage(
  campaigns: readonly Campaign[],
  items: readonly PublishedItem[],
  sets: readonly UnitSet[],
  now: Date,
): Page {
  const rows = campaigns.map(
    ({ id, itemId, version, state, stage, stages, reason, createdBy, createdAt }) =>
      html`<tr><th scope="row"><a href="${path`/campaigns/${id}`}">${itemId} ${version}</a></th><td>${badge(state)}</td><td>${stage + 1} of ${stages.length}: ${stages[stage]}</td><td>${reason}</td><td>${createdBy}, ${moment(createdAt, now)}</td></tr>`,
  );
  return {
    title: 'Campaigns',
    menu: 'Campaigns',
    live: '*',
    body: html`<h1>Campaigns</h1><p class="lead">A campaign brings a version to one unit set after the other. It stops by itself when a unit fails.</p>
${table('Campaigns', ['Campaign', 'State', 'Stage', 'Why', 'Begun'], rows, 'There was none yet.')}
<details class="card"><summary>Begin a campaign</summary>${
      items.length === 0 || sets.length === 0
        ? html`<p>It needs a published item, and a unit set (<a href="/groups">Groups</a>).</p>`
        : call(
            'POST',
            '/api/campaigns',
            html`<div class="fields"><label>Item and version <select name="itemId+version" required>${items.toReversed().map(({ id, version }) => html`<option value="${JSON.stringify([id, version])}">${id} ${version}</option>`)}</select></label>
<label>Unit sets, in their order <input name="stages" data-as="list" required list="sets" placeholder="first, second"></label><datalist id="sets">${sets.map(({ name }) => html`<option>${name}</option>`)}</datalist>
<label class="check"><input type="checkbox" name="automatic" checked> The next stage begins by itself</label></div><button class="main">Begin</button>`,
            { said: 'The campaign begins' },
          )
    }</details>`,
  };
}

export function campaignPage(
  campaign: Campaign,
  units: readonly (UnitProgress & { readonly stage: number })[],
  now: Date,
): Page {
  const { id, itemId, version, state, stage, stages, reason, createdBy, createdAt, automatic } = campaign;
  const at = path`/api/campaigns/${id}`;
  const done = units.filter((unit) => unit.state === 'updated').length;
  const sections = stages.map((name, index) => {
    const rows = units
      .filter((unit) => unit.stage === index)
      .map(
        (unit) =>
          html`<tr><th scope="row"><a href="${path`/units/${unit.systemId}`}">${unit.systemId}</a></th><td>${badge(unit.state)}</td><td>${unit.text}</td></tr>`,
      );
    return html`<section><h2>Stage ${index + 1}: ${name} ${index === stage ? badge(state) : ''}</h2>${index > stage ? html`<p class="empty">It has not begun.</p>` : table(`Units of ${name}`, ['Unit', 'State', 'Says'], rows, 'No unit of this set has the item in an older version.')}</section>`;
  });
  return {
    title: `Campaign ${itemId} ${version}`,
    menu: 'Campaigns',
    live: '*',
    body: html`<nav class="crumbs" aria-label="Breadcrumb"><a href="/campaigns">Campaigns</a></nav><div class="head"><h1>${itemId} ${version}</h1>${badge(state)}<small>${createdBy}, ${moment(createdAt, now)}</small></div><p class="lead">${reason}</p>
<progress max="${Math.max(1, units.length)}" value="${done}" aria-label="${done} of ${units.length} units run the version"></progress> <small>${done} of ${units.length} units that it has reached</small>
${
  state === 'running'
    ? html`<div class="row">${stage + 1 < stages.length ? call('POST', `${at}/advance`, html`<button>Begin stage ${stage + 2} now</button>`, { inline: true, said: 'The next stage begins', ...(automatic && { confirm: 'Begin the next stage before this one is done?' }) }) : ''}${call('POST', `${at}/stop`, html`<button class="danger">Stop</button>`, { inline: true, confirm: 'Stop the campaign? Units that have the version keep it.', said: 'The campaign is stopped' })}</div>`
    : ''
}${sections}`,
  };
}
