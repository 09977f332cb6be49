/** A unit's monitoring, events, logs; one node; one instance. */
import type { NodeLog } from '../../rest/log-view.ts';
import type { StoredAlert } from '../../store/alerts.ts';
import type { HistoryStore } from '../../store/history.ts';
import type { LogRequestRow } from '../../store/log-parts.ts';
import type { Sample } from '../../store/samples.ts';
import { chart, type Line, type Mark } from '../chart.ts';
import { eventText, eventWords } from '../event-words.ts';
import { type Html, html, path } from '../html.ts';
import { call, may, type Page, table } from '../layout.ts';
import { badge, bytes, moment, shorten, spaced } from '../words.ts';
import {
  errorText,
  INSTANCE_COLUMNS,
  type InstanceRow,
  instanceRows,
  instancesOf,
  nameOf,
  nodePath,
  type UnitModel,
  unitHead,
} from './unit-parts.ts';

export const RANGES = [
  ['1h', 'hour', 3_600_000],
  ['6h', '6 hours', 6 * 3_600_000],
  ['1d', 'day', 86_400_000],
  ['1w', 'week', 7 * 86_400_000],
] as const;

export interface Measured {
  readonly series: string;
  readonly samples: readonly Sample[];
}

export interface Usage {
  readonly range: string;
  readonly fromMs: number;
  readonly tillMs: number;
  readonly measured: readonly Measured[];
  readonly alerts: readonly StoredAlert[];
}

/** CPU is measured in DMIPS, all else in bytes. */
const amount = (parameter: unknown, value: unknown): string =>
  typeof value !== 'number' ? '' : parameter === 'cpu' ? `${Math.round(value)} DMIPS` : bytes(value);

const quotaText = ({ parameter, value }: StoredAlert['data']): string =>
  `${parameter ?? ''} is at ${amount(parameter, value)}`;

const downloadText = ({ digest, state, downloadedBytes, totalBytes, reason }: StoredAlert['data']): string =>
  `download of ${shorten(String(digest), 20)} ${state}: ${bytes(Number(downloadedBytes))} of ${bytes(Number(totalBytes))}${reason === undefined ? '' : `; ${reason}`}`;

export function alertText({ tag, data }: StoredAlert): string {
  const of = (value: unknown) => (value === undefined ? '' : nameOf(value as { id?: string; codename?: string }));
  const where = [
    of(data.node),
    of(data.item),
    of(data.subject),
    data.instance === undefined ? '' : String(data.instance),
  ];
  const what = data.message ?? (tag === 'downloadProgressAlert' ? downloadText(data) : quotaText(data));
  return `${where.filter((part) => part !== '').join('/')}${where.some((part) => part !== '') ? ': ' : ''}${what}${tag === 'coreAlert' ? ` (${data.coreComponent})` : ''}`;
}

function rangeLinks(here: string, range: string): Html {
  return html`<nav class="ranges" aria-label="Time">Last ${RANGES.map(([key, label]) => html`<a href="${here}?range=${key}"${key === range ? html` aria-current="true"` : ''}>${label}</a>`)}</nav>`;
}

/** Whether an alert belongs to a series: it names the node, or the instance. */
function isAbout(series: string, { data }: StoredAlert): boolean {
  const name = (member: unknown) => nameOf((member ?? {}) as { id?: string; codename?: string });
  if (data.item !== undefined) {
    return series === `instance:${name(data.item)}/${name(data.subject)}/${String(data.instance)}`;
  }
  return series === `node:${name(data.node)}`;
}

/** Charts of one series. */
function charts(
  usage: Usage,
  { series, samples }: Measured,
  limits: { readonly cpu?: number; readonly ram?: number },
): Html {
  const { fromMs, tillMs, alerts } = usage;
  const marks: Mark[] = alerts
    .filter((alert) => isAbout(series, alert))
    .map((alert) => ({ at: alert.at, text: alertText(alert) }));
  const line = (name: string, value: (sample: Sample) => number): Line => ({
    name,
    points: samples.map((sample) => [sample.at, value(sample)] as const),
  });
  const base = { fromMs, tillMs, marks };
  const disks = [...new Set(samples.flatMap(({ partitions }) => Object.keys(partitions)))];
  const percent = limits.cpu !== undefined && limits.cpu > 0;
  const cpu = percent
    ? {
        lines: [line('CPU', (s) => (s.cpu / limits.cpu!) * 100)],
        limit: 100,
        format: (v: number) => `${Math.round(v)} %`,
      }
    : { lines: [line('CPU', (s) => s.cpu)], format: (v: number) => `${Math.round(v)} DMIPS` };
  return html`<div class="charts">${chart({ title: 'CPU', ...base, ...cpu })}${chart({
    ...{ title: 'Memory', lines: [line('RAM', (s) => s.ram)], format: bytes, scale: 'binary' as const, ...base },
    ...(limits.ram !== undefined && limits.ram > 0 && { limit: limits.ram }),
  })}${chart({
    ...{ title: 'Traffic today', format: bytes, scale: 'binary' as const, ...base },
    lines: [line('down', (s) => s.download), line('up', (s) => s.upload)],
  })}${disks.length === 0 ? '' : chart({ title: 'Storage used', format: bytes, scale: 'binary' as const, ...base, lines: disks.map((disk) => line(disk, (s) => s.partitions[disk] ?? 0)) })}</div>`;
}

const isOf = (nodeId: string) => (measured: Measured) => measured.series === `node:${nodeId}`;

export function monitoringPage(model: UnitModel, usage: Usage): Page {
  const { unit } = model;
  const nodes = unit.nodes ?? [];
  const sections = usage.measured
    .filter(({ series }) => series.startsWith('node:'))
    .map((measured) => {
      const node = nodes.find((entry) => isOf(entry.identity.codename)(measured));
      const name = measured.series.slice('node:'.length);
      return html`<section><h2><a href="${nodePath(unit.systemId, name)}">${node?.identity.title || name}</a></h2>${charts(usage, measured, node ? { cpu: node.maxDmips, ram: node.totalRam } : {})}</section>`;
    });
  const instances = usage.measured.filter(({ series }) => series.startsWith('instance:'));
  const rows = instances.map(({ series, samples }) => {
    const name = series.slice('instance:'.length);
    const last = samples.at(-1);
    return html`<tr><th scope="row"><a href="${path`/units/${unit.systemId}`}/instances/${name.split('/').map(encodeURIComponent).join('/')}">${name}</a></th><td class="number">${last ? `${Math.round(last.cpu)} DMIPS` : '–'}</td><td class="number">${last ? bytes(last.ram) : '–'}</td><td class="number">${last ? `${bytes(last.download)} / ${bytes(last.upload)}` : '–'}</td></tr>`;
  });
  return {
    title: `Monitoring of ${unit.systemId}`,
    menu: 'Fleet',
    live: unit.systemId,
    body: html`${unitHead(model, 'Monitoring')}${rangeLinks(path`/units/${unit.systemId}/monitoring`, usage.range)}
${sections.length === 0 ? html`<p class="empty">The unit has sent no measurements in this time. It sends them about once a minute while it is online.</p>` : sections}
${rows.length === 0 ? '' : html`<section><h2>Instances</h2>${table('Usage of instances', ['Instance', 'CPU', 'Memory', 'Down / up today'], rows, '')}</section>`}`,
  };
}

export function alertRows(alerts: readonly StoredAlert[], now: Date): Html[] {
  return alerts.map(
    (alert) =>
      html`<tr><td>${moment(alert.at, now)}</td><td>${badge(spaced(alert.tag.replace(/Alert$/, '')))}</td><td>${alertText(alert)}</td></tr>`,
  );
}

export function eventsPage(
  model: UnitModel,
  alerts: readonly StoredAlert[],
  events: Awaited<ReturnType<HistoryStore['events']>>,
): Page {
  const { unit, now } = model;
  const rows = events.map(
    ({ at, event, data }) =>
      html`<tr><td>${moment(at, now)}</td><td>${eventWords(event, data)}</td><td>${shorten(eventText(data), 200)}</td></tr>`,
  );
  return {
    title: `Events of ${unit.systemId}`,
    menu: 'Fleet',
    live: unit.systemId,
    body: html`${unitHead(model, 'Events')}
<section><h2>Alerts</h2>${table('Alerts', ['When', 'Kind', 'What'], alertRows(alerts, now), 'No alerts. Good.')}</section>
<section><h2>History</h2>${table('History', ['When', 'Event', 'About'], rows, 'Nothing has happened yet.')}</section>`,
  };
}

export interface LogEntry extends LogRequestRow {
  readonly nodes: readonly NodeLog[];
}

const LOG_KINDS = [
  ['systemLog', 'of the system'],
  ['instanceLog', 'of instances'],
  ['crashLog', 'of crashes'],
] as const;

/** How much of a log a page shows; the file has all. */
const SHOWN_CHARACTERS = 50_000;

export function logsPage(model: UnitModel, logs: readonly LogEntry[], shown: LogEntry | undefined): Page {
  const { unit, actor, now } = model;
  const base = path`/units/${unit.systemId}/logs`;
  const rows = logs.map(
    ({ correlationId, at, request, nodes }) =>
      html`<tr><td><a href="${base}?show=${correlationId}">${moment(at, now)}</a></td><td>${LOG_KINDS.find(([type]) => type === request.logType)?.[1] ?? ''}</td><td>${String(request.itemId ?? 'all')}</td><td>${nodes.length === 0 ? badge('pending') : nodes.map(({ nodeId, status, complete }) => html`${nodeId} ${badge(status === 'error' ? 'failed' : complete ? 'complete' : 'downloading')} `)}</td></tr>`,
  );
  return {
    title: `Logs of ${unit.systemId}`,
    menu: 'Fleet',
    live: unit.systemId,
    body: html`${unitHead(model, 'Logs')}
${may(actor, 'POST /api/units/:unit/logs') ? logForm(model) : ''}
${shown ? logText(base, shown) : ''}
<section><h2>Asked for</h2>${table('Logs', ['Asked', 'Kind', 'Item', 'Nodes'], rows, 'No log was asked for yet.')}</section>`,
  };
}

function logForm({ unit }: UnitModel): Html {
  if (!unit.online) return html`<p class="notice">The unit is offline: it can be asked for logs when it is back.</p>`;
  const items = [...new Set(instancesOf(unit).map(({ itemId }) => itemId))];
  return html`<section class="card"><h2>Ask for a log</h2>${call(
    'POST',
    path`/api/units/${unit.systemId}/logs`,
    html`<div class="fields"><label>Kind <select name="logType">${LOG_KINDS.map(([type, words]) => html`<option value="${type}">${words}</option>`)}</select></label>
<label>Item <select name="itemId"><option value="">all</option>${items.map((id) => html`<option>${id}</option>`)}</select></label>
<label>Node <select name="nodeIds" data-as="list"><option value="">all</option>${(unit.nodes ?? []).map(({ identity }) => html`<option>${identity.codename}</option>`)}</select></label>
<label>From <input type="datetime-local" name="from" data-as="time"></label><label>Till <input type="datetime-local" name="till" data-as="time"></label></div><button class="main">Ask</button>`,
    { said: 'The unit is asked; the log appears below' },
  )}</section>`;
}

function logText(base: string, { correlationId, nodes }: LogEntry): Html {
  return html`<section id="log"><h2>Log</h2>${
    nodes.length === 0
      ? html`<p class="empty">Nothing has come yet.</p>`
      : nodes.map(
          ({ nodeId, status, error, text }) =>
            html`<h3>${nodeId} ${status === 'ok' ? '' : badge(status)} <a class="button quiet" href="${base}/${correlationId}/${encodeURIComponent(nodeId)}.txt" download>Download</a></h3>${error === undefined ? '' : html`<p class="fault">${error}</p>`}<pre class="log" tabindex="0">${text.slice(-SHOWN_CHARACTERS)}</pre>`,
        )
  }</section>`;
}

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

export function instancePage(model: UnitModel, instance: InstanceRow, usage: Usage): Page {
  const { unit, wanted, now } = model;
  const { itemId, subjectId, index } = instance;
  const found = instancesOf(unit).find(
    (entry) => entry.itemId === itemId && entry.subjectId === subjectId && entry.index === index,
  );
  const wish = wanted.find((entry) => entry.itemId === itemId && entry.subject === subjectId);
  const item = (unit.items ?? []).find((entry) => nameOf(entry.item) === itemId && entry.version === wish?.version);
  const measured = usage.measured.find(({ series }) => series === `instance:${itemId}/${subjectId}/${index}`);
  const alerts = usage.alerts.filter(({ data }) => nameOf((data.item ?? {}) as { id?: string }) === itemId);
  return {
    title: `${itemId} ${index} of ${unit.systemId}`,
    menu: 'Fleet',
    live: unit.systemId,
    body: html`${unitHead(model, undefined)}<div class="head"><h2>${itemId} <small>${subjectId}/${index}</small></h2>${found ? badge(found.state) : badge('not reported')}</div>
<section><h2>Why</h2><ol class="why">
<li>${wish ? html`The cloud wants ${wish.numInstances} of version ${wish.version}: ${wish.because}.` : html`The cloud does not want it any more.`}</li>
<li>${item ? html`The unit has the item: ${badge(item.state)}${errorText(item.errorInfo)}` : html`The unit has not reported this version of the item.`}</li>
<li>${found ? (found.nodeId === '' ? html`It could not be placed on a node.` : html`It was placed on <a href="${nodePath(unit.systemId, found.nodeId)}">${found.nodeId}</a>, runtime ${found.runtimeId}, in version ${found.version}.`) : html`The unit has reported no such instance.`}</li>
${found ? html`<li>Its state is ${badge(found.state)}${errorText(found.errorInfo)}${found.errorInfo?.exitCode ? html`<p>exit code ${found.errorInfo.exitCode}</p>` : ''}</li>` : ''}</ol></section>
<section><h2>Alerts</h2>${table('Alerts', ['When', 'Kind', 'What'], alertRows(alerts, now), 'No alerts in this time.')}</section>
<section><h2>Usage</h2>${rangeLinks(path`/units/${unit.systemId}/instances/${itemId}/${subjectId}/${index}`, usage.range)}${measured ? charts(usage, measured, {}) : html`<p class="empty">No measurements in this time.</p>`}</section>`,
  };
}
