/** What to do about a desired status (spec/cm.md 2.3, spec/decisions.md CM-07, CM-08). Pure. */
import type { UpdateState } from '../../core/index.ts';
import type { InstanceStatus, ItemStatus } from '../model.ts';
import { differingSections, numInstancesOf } from './desired.ts';
import type { Desired } from './desired-model.ts';
import { isSameContent, type RejectedItem } from './roll-back.ts';

export interface UpdateFacts {
  readonly items: readonly ItemStatus[];
  readonly instances: readonly InstanceStatus[];
  /** Versions that were rolled back and are not tried again. */
  readonly rejected?: readonly RejectedItem[] | undefined;
}

export type UpdateDecision =
  /** Everything is as wanted, or on its way to it: not even a write. */
  | { readonly do: 'nothing' }
  /** Nothing to do for it but to remember it: certificates for later checks. */
  | { readonly do: 'remember' }
  /** Begin with the download; what runs now is ended. */
  | { readonly do: 'start'; readonly because: string };

export interface UpdateSituation {
  readonly state: UpdateState;
  /** What was accepted last; undefined on a unit that was never told anything. */
  readonly accepted: Desired | undefined;
  readonly wanted: Desired;
  readonly facts: UpdateFacts;
}

const CERTIFICATE_SECTIONS: ReadonlySet<keyof Desired> = new Set(['certificates', 'certificateChains']);
/** They order something once and say nothing about the state. */
const ORDER_SECTIONS: ReadonlySet<keyof Desired> = new Set(['nodes', 'unitConfig']);

export function planUpdate({ state, accepted, wanted, facts }: UpdateSituation): UpdateDecision {
  const differing = accepted ? differingSections(accepted, wanted) : undefined;
  if (state !== 'none') {
    if (differing?.length === 0) return { do: 'nothing' };
    return { do: 'start', because: `a newer desired status differs in ${(differing ?? ['everything']).join(', ')}` };
  }
  const because = whyRequired(wanted, facts);
  if (because) return { do: 'start', because };
  const changed = differing?.filter((section) => !ORDER_SECTIONS.has(section)) ?? [];
  if (changed.length === 0) {
    // The first desired status of a blank unit may ask for nothing at all; that it came is worth remembering.
    return accepted ? { do: 'nothing' } : { do: 'remember' };
  }
  if (changed.every((section) => CERTIFICATE_SECTIONS.has(section))) return { do: 'remember' };
  return { do: 'start', because: `the desired ${changed.join(' and ')} changed` };
}

/** The first reason for an update, as a sentence; undefined when the unit is as it shall be. */
export function whyRequired(wanted: Desired, facts: UpdateFacts): string | undefined {
  if (wanted.nodes.length > 0) return `the state of node ${wanted.nodes[0]!.item.codename} is ordered`;
  if (wanted.unitConfig) return `unit configuration ${wanted.unitConfig.version} is ordered`;
  return whyItems(wanted, facts) ?? whyMissingInstance(wanted, facts.instances) ?? whyInstance(wanted, facts);
}

function whyItems(wanted: Desired, { items, rejected = [] }: UpdateFacts): string | undefined {
  const installed = new Set(items.filter(({ state }) => state === 'installed').map(itemText));
  const wantedTexts = new Set<string>();
  /** In their place the former version goes on. */
  const rejectedIds = new Set<string>();
  for (const { item, version, indexDigest } of wanted.items) {
    const text = itemText({ itemId: item.id, type: item.type, version });
    wantedTexts.add(text);
    if (rejected.some((one) => isSameContent(one, { itemId: item.id, version, indexDigest }))) rejectedIds.add(item.id);
    else if (!installed.has(text)) return `${text} is not installed`;
  }
  for (const row of items) {
    const text = itemText(row);
    if (!installed.has(text) || wantedTexts.has(text) || rejectedIds.has(row.itemId)) continue;
    return `${text} is installed and not wanted`;
  }
  return undefined;
}

function itemText(item: Pick<ItemStatus, 'itemId' | 'type' | 'version'>): string {
  return `${item.type} ${item.itemId} ${item.version}`;
}

function whyMissingInstance(wanted: Desired, instances: readonly InstanceStatus[]): string | undefined {
  const known = new Set(instances.map(({ ident }) => `${ident.itemId}/${ident.subjectId}/${ident.instance}`));
  for (const entry of wanted.instances) {
    const count = numInstancesOf(wanted, entry);
    for (let index = 0; index < count; index += 1) {
      const name = `${entry.item.id}/${entry.subject.id}/${index}`;
      if (!known.has(name)) return `instance ${name} does not exist`;
    }
  }
  return undefined;
}

function whyInstance(wanted: Desired, { instances }: UpdateFacts): string | undefined {
  const entryOf = new Map(wanted.instances.map((entry) => [JSON.stringify([entry.item.id, entry.subject.id]), entry]));
  const versions = new Set(wanted.items.map(({ item, version }) => JSON.stringify([item.id, version])));
  for (const { ident, version, state } of instances) {
    const entry = entryOf.get(JSON.stringify([ident.itemId, ident.subjectId]));
    const name = `${ident.itemId}/${ident.subjectId}/${ident.instance}`;
    if (ident.type === 'service') {
      if (!ident.preinstalled && !(entry && numInstancesOf(wanted, entry) > ident.instance)) {
        return `instance ${name} is not wanted`;
      }
    } else if (entry) {
      if (!versions.has(JSON.stringify([ident.itemId, version]))) return `component ${name} has version ${version}`;
      if (state !== 'active') return `component ${name} is ${state}`;
    }
  }
  return undefined;
}
