/** One node of a unit, and what can be done with it. */
import { type Html, html, path } from '../html.ts';
import { call, may, type Page, table } from '../layout.ts';
import { badge, bytes } from '../words.ts';
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
import { charts, isOf, rangeLinks, type Usage } from './usage-parts.ts';

export function nodePage(model: UnitModel, nodeId: string, usage: Usage): Page {
  const { unit, actor } = model;
  const node = (unit.nodes ?? []).find(({ identity }) => identity.codename === nodeId);
  const measured = usage.measured.find(isOf(nodeId));
  const at = path`/api/units/${unit.systemId}/nodes/${nodeId}`;
  const isMain = node?.attrs !== undefined && Object.keys(node.attrs).some((key) => key.toLowerCase() === 'mainnode');
  const fact = (name: string, value: Html | string) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
  return {
    title: `${nodeId} of ${unit.systemId}`,
    menu: 'Fleet',
    live: unit.systemId,
    body: html`${unitHead(model, undefined)}<div class="head"><h2>Node ${node?.identity.title || nodeId}</h2>${node ? badge(node.state) : ''}${node && !node.isConnected ? badge('not connected') : ''}</div>${errorText(node?.errorInfo)}
${node ? html`<dl class="facts">${fact('Type', nameOf(node.nodeGroupSubject))}${fact('System', `${node.osInfo.os} ${node.osInfo.version ?? ''}`)}${fact('Processor', (node.cpus ?? []).map((cpu) => `${cpu.modelName} (${cpu.totalNumCores} cores, ${cpu.archInfo.architecture})`).join(', ') || '–')}${fact('Power', `${node.maxDmips} DMIPS`)}${fact('Memory', bytes(node.totalRam))}${fact('Partitions', (node.partitions ?? []).map((part) => `${part.name} ${bytes(part.totalSize)}`).join(', ') || '–')}${fact('Runtimes', (node.runtimes ?? []).map(({ runtimeType }) => runtimeType).join(', ') || '–')}${fact('Resources', (node.resources ?? []).map(({ name }) => name).join(', ') || 'none')}</dl>` : html`<p class="empty">The unit has no node of this name.</p>`}
${node ? html`<div class="row">${nodeActions(at, nodeId, node.state, isMain, actor)}</div>` : ''}
<section><h2>Instances</h2>${table(
      'Instances',
      INSTANCE_COLUMNS,
      instanceRows(
        unit,
        instancesOf(unit).filter((entry) => entry.nodeId === nodeId),
      ),
      'No instance runs on this node.',
    )}</section>
<section><h2>Usage</h2>${rangeLinks(nodePath(unit.systemId, nodeId), usage.range)}${measured ? charts(usage, measured, node ? { cpu: node.maxDmips, ram: node.totalRam } : {}) : html`<p class="empty">No measurements in this time.</p>`}</section>`,
  };
}

function nodeActions(at: string, nodeId: string, state: string, isMain: boolean, actor: UnitModel['actor']): Html {
  const change = (wanted: string, label: string) =>
    call('PUT', `${at}/state`, html`<input type="hidden" name="state" value="${wanted}"><button>${label}</button>`, {
      ...{ said: `${nodeId} is told`, inline: true },
      ...(wanted === 'paused' && { confirm: `Pause ${nodeId}? Its instances stop or move to other nodes.` }),
    });
  const canProvision = may(actor, 'POST /api/units/:unit/nodes/:node/provision');
  return html`${state === 'provisioned' ? change('paused', 'Pause') : state === 'paused' ? change('provisioned', 'Resume') : ''}${
    canProvision && state === 'unprovisioned'
      ? call('POST', `${at}/provision`, html`<button class="main">Provision</button>`, {
          said: 'The node is being provisioned',
          inline: true,
        })
      : ''
  }${
    canProvision && !isMain && state !== 'unprovisioned'
      ? call('POST', `${at}/deprovision`, html`<button class="danger">Deprovision</button>`, {
          ...{ said: 'The node is being deprovisioned', inline: true },
          confirm: `Deprovision ${nodeId}? Its keys and certificates are destroyed.`,
        })
      : ''
  }`;
}
