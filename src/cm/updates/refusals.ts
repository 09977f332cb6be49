/**
 * Entries of a desired status that are bad: each is reported by its name, what was said of it before stays in force,
 * and the rest of the message counts (spec/decisions.md C-17). Pure.
 */
import { toErrorInfo } from '../../core/index.ts';
import { CloudIdentity, type RefusedEntry } from '../../protocol/index.ts';
import type { InstanceStatus, ItemStatus } from '../model.ts';
import type { Desired, Refusals, RefusedInstance, RefusedItem } from './desired-model.ts';

/** What the message says together with what was said before of the things that its bad entries name. */
export function withRefusals(said: Desired, before: Desired, refused: readonly RefusedEntry[]): Desired {
  const refusals = refusalsOf(refused);
  const items = new Set(refusals.items.map(({ itemId }) => itemId));
  const instances = new Set(refusals.instances.map(nameOf));
  const saidItems = new Set(said.items.map(({ item }) => item.id));
  const keptItems = before.items.filter(({ item }) => items.has(item.id) && !saidItems.has(item.id));
  const saidInstances = new Set(said.instances.map(nameOfEntry));
  const keptInstances = before.instances.filter(
    (entry) => instances.has(nameOfEntry(entry)) && !saidInstances.has(nameOfEntry(entry)),
  );
  return {
    ...said,
    items: said.items === before.items ? said.items : [...said.items, ...keptItems],
    instances: said.instances === before.instances ? said.instances : [...said.instances, ...keptInstances],
    ...(refusals.items.length + refusals.instances.length > 0 && { refusals }),
  };
}

/** Entries without any name cannot be reported; the link has told people of them. */
function refusalsOf(refused: readonly RefusedEntry[]): Refusals {
  const items: RefusedItem[] = [];
  const instances: RefusedInstance[] = [];
  for (const { list, entry, id, version = '', error } of refused) {
    if (id === undefined) continue;
    const { item, identity, subject } = entry as Readonly<Record<string, unknown>>;
    const subjectId = CloudIdentity.safeParse(subject).data?.id;
    if (list === 'items') {
      const type = CloudIdentity.safeParse(item ?? identity).data?.type === 'component' ? 'component' : 'service';
      items.push({ itemId: id, type, version, error: toErrorInfo(error) });
    } else if (list === 'instances' && subjectId !== undefined) {
      instances.push({ itemId: id, subjectId, error: toErrorInfo(error) });
    }
  }
  return { items, instances };
}

function nameOfEntry({ item, subject }: Desired['instances'][number]): string {
  return nameOf({ itemId: item.id, subjectId: subject.id });
}

function nameOf({ itemId, subjectId }: { readonly itemId: string; readonly subjectId: string }): string {
  return JSON.stringify([itemId, subjectId]);
}

/** Items that the unit reports: its own, and those that it could not even take up. */
export function reportedItems(items: readonly ItemStatus[], refusals: Refusals | undefined): readonly ItemStatus[] {
  if (!refusals) return items;
  const known = new Set(items.map(({ itemId, version }) => JSON.stringify([itemId, version])));
  const refused = refusals.items.filter(({ itemId, version }) => !known.has(JSON.stringify([itemId, version])));
  return [...items, ...refused.map((item): ItemStatus => ({ ...item, state: 'failed' }))];
}

/** Instances that the unit reports: its own, and one failed in the place of each entry that it could not take up. */
export function reportedInstances(
  instances: readonly InstanceStatus[],
  refusals: Refusals | undefined,
): readonly InstanceStatus[] {
  if (!refusals) return instances;
  const known = new Set(instances.map(({ ident }) => nameOf(ident)));
  const refused = refusals.instances.filter((entry) => !known.has(nameOf(entry)));
  return [
    ...instances,
    ...refused.map(
      ({ itemId, subjectId, error }): InstanceStatus => ({
        ident: { itemId, subjectId, instance: 0, type: 'service', preinstalled: false },
        version: '',
        nodeId: '',
        runtimeId: '',
        manifestDigest: '',
        state: 'failed',
        error,
        because: 'its entry in the desired status is refused',
      }),
    ),
  ];
}
