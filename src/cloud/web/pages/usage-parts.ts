/** How much nodes and instances use, in charts of a time that can be chosen. */
import type { StoredAlert } from '../../store/alerts.ts';
import type { Sample } from '../../store/samples.ts';
import { chart, type Line, type Mark } from '../chart.ts';
import { type Html, html } from '../html.ts';
import { bytes } from '../words.ts';
import { alertText } from './alert-parts.ts';
import { nameOf } from './unit-parts.ts';

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

/** Whether an alert belongs to a series: it names the node, or the instance. */
function isAbout(series: string, { data }: StoredAlert): boolean {
  const name = (member: unknown) => nameOf((member ?? {}) as { id?: string; codename?: string });
  if (data.item !== undefined) {
    return series === `instance:${name(data.item)}/${name(data.subject)}/${String(data.instance)}`;
  }
  return series === `node:${name(data.node)}`;
}

export function rangeLinks(here: string, range: string): Html {
  return html`<nav class="ranges" aria-label="Time">Last ${RANGES.map(([key, label]) => html`<a href="${here}?range=${key}"${key === range ? html` aria-current="true"` : ''}>${label}</a>`)}</nav>`;
}

/** Charts of one series. */
export function charts(
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

export const isOf = (nodeId: string) => (measured: Measured) => measured.series === `node:${nodeId}`;
