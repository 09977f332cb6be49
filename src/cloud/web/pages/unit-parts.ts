/** What all pages of a unit share: head, tabs, rows of instances. */
import type { Actor } from '../../access/roles.ts';
import type { Wanted } from '../../domain/wanted.ts';
import type { UnitView } from '../../rest/unit-view.ts';
import { type Html, html, path } from '../html.ts';
import { badge, moment } from '../words.ts';

export interface UnitModel {
  readonly unit: UnitView;
  readonly wanted: readonly Wanted[];
  readonly sets: readonly string[];
  readonly subjects: readonly string[];
  readonly actor: Actor;
  readonly now: Date;
}

const TABS = [
  ['Overview', ''],
  ['Monitoring', '/monitoring'],
  ['Events', '/events'],
  ['Logs', '/logs'],
  ['Manage', '/manage'],
] as const;
export type Tab = (typeof TABS)[number][0];

interface Named {
  readonly id?: string | undefined;
  readonly codename?: string | undefined;
}
export const nameOf = ({ id, codename }: Named): string => id ?? codename ?? '';

export function unitHead({ unit, now }: UnitModel, tab: Tab | undefined): Html {
  const { systemId, online, lastSeen, model } = unit;
  const base = path`/units/${systemId}`;
  return html`<nav class="crumbs" aria-label="Breadcrumb"><a href="/">Fleet</a></nav>
<div class="head"><h1>${systemId}</h1>${online ? badge('online') : badge('offline')}${unit.status === 'new' ? badge('new') : ''}<small>${model.name} ${model.version}${online || !lastSeen ? '' : html` · last seen ${moment(lastSeen, now)}`}</small></div>
<nav class="tabs" aria-label="Unit">${TABS.map(([label, rest]) => html`<a href="${base + rest}"${label === tab ? html` aria-current="page"` : ''}>${label}</a>`)}</nav>`;
}

export function errorText(info: { readonly message: string; readonly aosCode: number } | undefined): Html {
  return info ? html`<p class="fault">${info.message || `error ${info.aosCode}`}</p>` : html``;
}

export interface InstanceRow {
  readonly itemId: string;
  readonly subjectId: string;
  readonly index: number;
  readonly version: string;
  readonly nodeId: string;
  readonly runtimeId: string;
  readonly state: string;
  readonly errorInfo?: { readonly message: string; readonly aosCode: number; readonly exitCode: number } | undefined;
}

export function instancesOf(unit: UnitView): InstanceRow[] {
  return (unit.instances ?? []).flatMap((group) =>
    group.instances.map((instance) => ({
      ...{ itemId: nameOf(group.item), subjectId: nameOf(group.subject), index: instance.instance },
      ...{ version: group.version, nodeId: nameOf(instance.node), runtimeId: nameOf(instance.runtime) },
      ...{ state: instance.state, errorInfo: instance.errorInfo },
    })),
  );
}

export const instancePath = (systemId: string, { itemId, subjectId, index }: InstanceRow): string =>
  path`/units/${systemId}/instances/${itemId}/${subjectId}/${index}`;

export const nodePath = (systemId: string, nodeId: string): string => path`/units/${systemId}/nodes/${nodeId}`;

export function instanceRows(unit: UnitView, instances: readonly InstanceRow[]): Html[] {
  return instances.map(
    (instance) =>
      html`<tr><th scope="row"><a href="${instancePath(unit.systemId, instance)}">${instance.itemId}</a> <small>${instance.subjectId}/${instance.index}</small></th><td>${badge(instance.state)}${errorText(instance.errorInfo)}</td><td>${instance.version}</td><td>${instance.nodeId === '' ? 'not placed' : html`<a href="${nodePath(unit.systemId, instance.nodeId)}">${instance.nodeId}</a>`}</td></tr>`,
  );
}
export const INSTANCE_COLUMNS = ['Instance', 'State', 'Version', 'Node'] as const;
