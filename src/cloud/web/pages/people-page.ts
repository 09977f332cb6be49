/** Who may use this cloud, and what they have changed. */
import type { AuditEntry } from '../../store/history.ts';
import { FIRST_USER, type UserRow } from '../../store/users.ts';
import { html, path } from '../html.ts';
import { call, type Page, table } from '../layout.ts';
import { moment } from '../words.ts';

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
