/** Published items, and the form that publishes. */
import type { Actor } from '../../access/roles.ts';
import type { PublishedItem } from '../../store/items.ts';
import { type Html, html, path } from '../html.ts';
import { call, may, type Page, table } from '../layout.ts';
import { badge, moment } from '../words.ts';

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
