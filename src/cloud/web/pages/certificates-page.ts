/** Certificates that this cloud has issued. */
import type { Actor } from '../../access/roles.ts';
import type { CertificateRow } from '../../store/certificates.ts';
import { html, path } from '../html.ts';
import { call, may, type Page, table } from '../layout.ts';
import { certificateRow } from './manage-page.ts';

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
