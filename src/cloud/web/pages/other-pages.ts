/** Items, campaigns, groups, certificates, people. */
import type { Actor } from '../../access/roles.ts';
import type { UnitProgress } from '../../domain/campaign-progress.ts';
import type { Campaign } from '../../store/campaigns.ts';
import type { CertificateRow } from '../../store/certificates.ts';
import type { AuditEntry } from '../../store/history.ts';
import type { PublishedItem } from '../../store/items.ts';
import type { Subject, Subscription } from '../../store/subjects.ts';
import type { UnitSet } from '../../store/unit-sets.ts';
import { FIRST_USER, type UserRow } from '../../store/users.ts';
import { type Html, html, path } from '../html.ts';
import { call, may, type Page, table } from '../layout.ts';
import { badge, moment } from '../words.ts';
import { certificateRow } from './manage-page.ts';

export interface ItemView extends PublishedItem {
  /** Units that are to have this version. */
  readonly wantedBy: number;
}

export function itemsPage(items: readonly ItemView[], restUrl: string, actor: Actor, now: Date): Page {
  const verify = may(actor, 'PUT /api/items/:id/:version/verification');
  const rows = items.toReversed().map((item) => {
    const { id, version, type, title, owner, verification, verificationReason, publishedAt, wantedBy } = item;
    const at = path`/api/items/${id}/${version}`;
    const judge = (state: string, label: string, extra: Html | string = '') =>
      call(
        'PUT',
        `${at}/verification`,
        html`<input type="hidden" name="state" value="${state}">${extra}<button>${label}</button>`,
        { said: `${id} ${version} is ${state}` },
      );
    const reason = html`<label>Why <input name="reason" maxlength="256" required></label>`;
    return html`<tr><th scope="row">${id}${title === id ? '' : html` <small>${title}</small>`}</th><td>${version}</td><td>${type}</td><td>${badge(verification)}${verificationReason ? html`<br><small>${verificationReason}</small>` : ''}</td><td>${owner}</td><td class="number">${wantedBy}</td><td>${moment(publishedAt, now)}</td><td class="actions">${
      verify || may(actor, 'DELETE /api/items/:id/:version')
        ? html`<details class="menu"><summary aria-label="Change ${id} ${version}">Change</summary><div>${verify && verification !== 'valid' ? judge('valid', 'Verify') : ''}${verify && verification !== 'rejected' ? judge('rejected', 'Reject', reason) : ''}${call('DELETE', at, html`<button class="danger">Delete</button>`, { said: `${id} ${version} is deleted`, confirm: `Delete ${id} ${version}? It cannot be deployed any more.` })}</div></details>`
        : ''
    }</td></tr>`;
  });
  return {
    title: 'Items',
    menu: 'Items',
    live: '*',
    body: html`<h1>Items</h1>${table('Items', ['Item', 'Version', 'Type', 'Verification', 'Owner', 'Units', 'Published', ''], rows, 'Nothing was published yet.')}
${
  may(actor, 'PUT /api/items/:id/:version')
    ? html`<details class="card"${items.length === 0 ? html` open` : ''}><summary>Publish</summary><div id="drop" class="drop" data-publish><p><b>Drop a prepared image here</b>, or <label class="button">choose a file <input type="file" accept=".tar" class="hidden"></label></p><p><small>An OCI layout in a tar file whose manifests have an item configuration (<code>aosItemConfig</code>).</small></p></div>
<form id="publish" class="fields" hidden><label>Item <input name="id" required maxlength="64"></label><label>Version <input name="version" required maxlength="32" placeholder="1.0.0"></label><label>Type <select name="type"><option>service</option><option>component</option></select></label><button class="main">Publish</button></form><progress id="upload" hidden aria-label="Upload"></progress>
<p>From a terminal, with any image or an author’s folder:</p><pre><code>aosctl --cloud ${restUrl} publish ./my-service --id my-service --version 1.0.0</code></pre></details>`
    : ''
}`,
  };
}

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

export interface SubjectView extends Subject {
  readonly units: readonly string[];
  readonly items: readonly Subscription[];
}

export function groupsPage(
  sets: readonly UnitSet[],
  subjects: readonly SubjectView[],
  units: readonly string[],
  items: readonly PublishedItem[],
): Page {
  const unitOptions = html`<datalist id="units">${units.map((unit) => html`<option>${unit}</option>`)}</datalist><datalist id="items">${[...new Set(items.map(({ id }) => id))].map((id) => html`<option>${id}</option>`)}</datalist>`;
  const links = (names: readonly string[]) =>
    names.length === 0
      ? 'none'
      : names.map((name, index) => html`${index > 0 ? ', ' : ''}<a href="${path`/units/${name}`}">${name}</a>`);
  const setRows = sets.map(
    ({ name, fleet, verification, units: members }) =>
      html`<tr><th scope="row">${name}${verification ? html` <span class="badge warn">verification</span>` : ''}</th><td>${links(members)}</td><td>${fleet || '–'}</td><td class="actions"><details class="menu"><summary aria-label="Change ${name}">Change</summary><div>${setForm(name, members, verification)}${call('DELETE', path`/api/unit-sets/${name}`, html`<button class="danger">Delete</button>`, { confirm: `Delete the set ${name}?`, said: `${name} is deleted` })}</div></details></td></tr>`,
  );
  return {
    title: 'Groups',
    menu: 'Groups',
    live: '*',
    body: html`<h1>Groups</h1>${unitOptions}
<section><h2>Unit sets</h2><p class="lead">Stages of campaigns. Units of a verification set take versions that nobody has verified yet.</p>${table('Unit sets', ['Set', 'Units', 'Fleet', ''], setRows, 'There is no unit set.')}
<details class="card"><summary>New unit set</summary>${setForm(undefined, [], false)}</details></section>
<section><h2>Subjects</h2><p class="lead">Units of a subject run what the subject has subscribed to. A user is at one unit at a time, and takes states along.</p>${subjects.length === 0 ? html`<p class="empty">There is no subject.</p>` : subjects.map((subject) => subjectCard(subject, links(subject.units)))}
<details class="card"><summary>New subject</summary>${call('PUT', '/api/subjects/{id}', html`<div class="fields"><label>Name <input name="id" required maxlength="64"></label><label>Kind <select name="type"><option value="group">group</option><option value="user">user</option></select></label><label>Priority <input type="number" name="priority" min="0" max="999999" placeholder="0"></label><label class="check"><input type="checkbox" name="reported"> Runs only while the unit reports it</label></div><button class="main">Make</button>`, { said: 'The subject is there' })}</details></section>`,
  };
}

function setForm(name: string | undefined, members: readonly string[], verification: boolean): Html {
  return call(
    'PUT',
    name === undefined ? '/api/unit-sets/{name}' : path`/api/unit-sets/${name}`,
    html`<div class="fields">${name === undefined ? html`<label>Name <input name="name" required maxlength="64"></label>` : ''}<label>Units <input name="units" data-as="list" data-always list="units" value="${members.join(', ')}" placeholder="unit-1, unit-2"></label><label class="check"><input type="checkbox" name="verification"${verification ? html` checked` : ''}> For verification</label></div><button class="main">${name === undefined ? 'Make' : 'Set'}</button>`,
    { said: 'The set is as you wish' },
  );
}

function subjectCard(
  { id, type, priority, reported, units, items }: SubjectView,
  links: Html | string | readonly Html[],
): Html {
  const at = path`/api/subjects/${id}`;
  const rows = items.map(
    ({ itemId, version, numInstances, priority: own }) =>
      html`<tr><th scope="row">${itemId}</th><td>${version}</td><td class="number">${numInstances}</td><td class="number">${own ?? priority}</td><td class="actions">${call('DELETE', `${at}/items/${encodeURIComponent(itemId)}`, html`<button class="quiet danger" aria-label="End the subscription of ${itemId}">End</button>`, { said: `${itemId} is not subscribed any more`, confirm: `End the subscription of ${id} to ${itemId}? Its instances stop on ${units.length} units.`, inline: true })}</td></tr>`,
  );
  return html`<article class="card"><div class="head"><h3>${id}</h3><span class="badge calm">${type}</span>${reported ? html`<span class="badge calm">reported by units</span>` : ''}</div><p>Units: ${links}</p>${table(`Subscriptions of ${id}`, ['Item', 'Version', 'Instances', 'Priority', ''], rows, 'It has subscribed to nothing.')}
<div class="row"><details class="menu"><summary>Subscribe</summary><div>${call('PUT', `${at}/items/{item}`, html`<label>Item <input name="item" list="items" required></label><label>Version <input name="version" placeholder="the newest"></label><label>Instances <input type="number" name="numInstances" min="0" placeholder="as published"></label><button class="main">Subscribe</button>`, { said: 'It is subscribed' })}</div></details>
<details class="menu"><summary>Assign a unit</summary><div>${call('PUT', `${at}/units/{unit}`, html`<label>Unit <input name="unit" list="units" required></label><button class="main">Assign</button>`, { said: 'The unit is assigned' })}</div></details>
<details class="menu"><summary>Withdraw</summary><div>${units.map((unit) => call('DELETE', `${at}/units/${encodeURIComponent(unit)}`, html`<button>from ${unit}</button>`, { said: `${id} has left ${unit}` }))}${call('DELETE', at, html`<button class="danger">Delete the subject</button>`, { confirm: `Delete ${id}? What only it has subscribed to stops.`, said: `${id} is deleted` })}</div></details></div></article>`;
}

export function certificatesPage(
  rows: readonly CertificateRow[],
  isOnline: (systemId: string) => boolean,
  actor: Actor,
  now: Date,
): Page {
  const byUnit = [...new Set(rows.map(({ systemId }) => systemId ?? ''))];
  return {
    title: 'Certificates',
    menu: 'Certificates',
    live: '*',
    body: html`<h1>Certificates</h1><p class="lead">Those in use that end first. They are renewed by themselves in their last days, when their unit is online.</p>
${table(
  'Certificates',
  ['Unit', 'Node', 'Type', 'State', 'Ends', 'Renewed', 'Serial'],
  rows.map((row) =>
    certificateRow(row, now, html`<a href="${path`/units/${row.systemId ?? ''}/manage`}">${row.systemId}</a>`),
  ),
  'No unit has a certificate.',
)}
${may(actor, 'POST /api/units/:unit/certificates/renew') ? html`<div class="row">${byUnit.filter(isOnline).map((unit) => call('POST', path`/api/units/${unit}/certificates/renew`, html`<button>Renew all of ${unit}</button>`, { inline: true, said: `${unit} is asked to renew`, confirm: `Renew all certificates of ${unit}?` }))}</div>` : ''}`,
  };
}

const ROLE_WORDS = { oem: 'OEM: everything', serviceProvider: 'service provider', fleetOwner: 'fleet owner' } as const;

export function peoplePage(users: readonly UserRow[], audit: readonly AuditEntry[], now: Date): Page {
  const userRows = users.map(
    ({ name, role, scope, createdAt }) =>
      html`<tr><th scope="row">${name}</th><td>${ROLE_WORDS[role]}</td><td>${scope || '–'}</td><td>${moment(createdAt, now)}</td><td class="actions">${name === FIRST_USER ? '' : call('DELETE', path`/api/users/${name}`, html`<button class="quiet danger">Delete</button>`, { inline: true, confirm: `Delete ${name}? All certificates and tokens of ${name} end at once.`, said: `${name} is deleted` })}</td></tr>`,
  );
  const auditRows = audit.map(
    ({ at, userName, method, path: where, why }) =>
      html`<tr><td>${moment(at, now)}</td><td>${userName}</td><td><code>${method} ${where}</code></td><td>${why || '–'}</td></tr>`,
  );
  return {
    title: 'People',
    menu: 'People',
    body: html`<h1>People</h1><section>${table('People', ['Name', 'Role', 'For', 'Since', ''], userRows, '')}
<details class="card"><summary>Add somebody</summary>${call('PUT', '/api/users/{name}', html`<div class="fields"><label>Name <input name="name" required maxlength="64"></label><label>Role <select name="role">${Object.entries(ROLE_WORDS).map(([role, words]) => html`<option value="${role}">${words}</option>`)}</select></label><label>Owner or fleet <input name="scope" maxlength="64" placeholder="of a provider or fleet owner"></label></div><button class="main">Add</button>`, { said: 'Now give them a certificate: aosctl user certificate <name>' })}</details></section>
<section><h2>Changes</h2>${table('Changes', ['When', 'Who', 'What', 'Why'], auditRows, 'Nothing was changed yet.')}</section>`,
  };
}
