/** Groups: unit sets, and subjects with what is assigned to them. */
import type { SubjectView } from '../../rest/subject-view.ts';
import type { PublishedItem } from '../../store/items.ts';
import type { UnitSet } from '../../store/unit-sets.ts';
import { type Html, html, path } from '../html.ts';
import { call, type Page, table } from '../layout.ts';

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
