/** What is done with a unit seldom: certificates, configuration, environment, its end. */
import type { CertificateRow } from '../../store/certificates.ts';
import { type Html, html, path } from '../html.ts';
import { call, may, type Page, table } from '../layout.ts';
import { badge, moment } from '../words.ts';
import { type UnitModel, unitHead } from './unit-parts.ts';

export interface ManageModel extends UnitModel {
  readonly certificates: readonly CertificateRow[];
  readonly unitConfig: { readonly config: unknown; readonly from: string } | undefined;
  readonly envVars: readonly unknown[];
}

const SOON_MS = 60 * 86_400_000;

export function certificateRow(certificate: CertificateRow, now: Date, first: Html | string): Html {
  const { type, nodeId, serial, notAfter, revokedAt, installedAt } = certificate;
  const leftMs = Date.parse(notAfter) - now.getTime();
  const state = revokedAt !== null ? 'revoked' : leftMs < 0 ? 'failed' : leftMs < SOON_MS ? 'ends soon' : 'valid';
  return html`<tr><th scope="row">${first}</th><td>${nodeId}</td><td>${type}</td><td>${badge(state)}</td><td>${moment(notAfter, now)}</td><td>${installedAt === null ? 'at provisioning' : moment(installedAt, now)}</td><td><code>${serial.slice(0, 12)}</code></td></tr>`;
}

export function managePage(model: ManageModel): Page {
  const { unit, actor, certificates, unitConfig, envVars, now } = model;
  const at = path`/api/units/${unit.systemId}`;
  const json = (value: unknown) => JSON.stringify(value, null, 2);
  const template = { formatVersion: '7', version: '1.0.0', nodes: [] };
  return {
    title: `Manage ${unit.systemId}`,
    menu: 'Fleet',
    live: unit.systemId,
    body: html`${unitHead(model, 'Manage')}
<section><h2>Certificates</h2>${table(
      'Certificates',
      ['Issued', 'Node', 'Type', 'State', 'Ends', 'Renewed', 'Serial'],
      certificates
        .toReversed()
        .map((certificate) => certificateRow(certificate, now, moment(certificate.issuedAt, now))),
      'The unit has no certificates: it was never provisioned, or was reset.',
    )}
${unit.online ? call('POST', `${at}/certificates/renew`, html`<button>Renew all now</button>`, { said: 'The unit is asked to renew', confirm: `Renew all certificates of ${unit.systemId}? Its programs connect anew with them.`, inline: true }) : html`<p class="notice">The unit is offline; its certificates are renewed when it is back, if they end soon.</p>`}</section>
<section><h2>Unit configuration</h2>${unitConfig ? html`<p>Version ${String((unitConfig.config as { version?: unknown }).version)}, given to ${unitConfig.from}.</p>` : html`<p class="empty">None was given.</p>`}
${
  may(actor, 'PUT /api/units/:unit/unit-config')
    ? html`<details class="card"><summary>Change</summary>${call('PUT', `${at}/unit-config`, html`<label>JSON; its version must rise <textarea name="*" rows="14" spellcheck="false">${json(unitConfig?.config ?? template)}</textarea></label><button class="main">Give to this unit</button>`, { said: 'It is wanted; the unit reports whether it takes it' })}</details>`
    : unitConfig
      ? html`<pre>${json(unitConfig.config)}</pre>`
      : ''
}</section>
<section><h2>Environment of instances</h2><p>${envVars.length === 0 ? 'Nothing is overridden.' : `${envVars.length} overrides.`}</p><details class="card"><summary>Change</summary>${call('PUT', `${at}/env-vars`, html`<label>JSON: all overrides; they replace the former ones <textarea name="*" rows="10" spellcheck="false">${json({ items: envVars })}</textarea></label><button class="main">Override</button>`, { said: 'The unit is told' })}</details></section>
${may(actor, 'POST /api/units/:unit/reset') ? theEnd(model, at) : ''}`,
  };
}

function theEnd({ unit }: UnitModel, at: string): Html {
  return html`<section class="card danger-zone"><h2>Leave the cloud</h2>
<div class="choice"><p><b>Reset</b> revokes all certificates and lets the unit be provisioned again. What is wanted of it stays.</p>${call('POST', `${at}/reset`, html`<button class="danger">Reset</button>`, { confirm: `Reset ${unit.systemId}? It loses its connection until it is provisioned again.`, said: 'The unit is reset' })}</div>
<div class="choice"><p><b>Forget</b> revokes all certificates and deletes everything that the cloud knows of the unit.</p>${call('DELETE', at, html`<button class="danger">Forget</button>`, { confirm: `Forget ${unit.systemId}, with all of its history?`, next: '/' })}</div></section>`;
}
