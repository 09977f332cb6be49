/** The picture of a unit that its statuses draw (spec/cloud-protocol.md 8.4). Pure. */
import type {
  NodeStatus,
  ReportedInstances,
  ReportedItem,
  UnitConfigStatus,
  UnitStatus,
} from '../../protocol/index.ts';

type Identity = NonNullable<UnitStatus['subjects']>[number];
type ReportedInstance = ReportedInstances['instances'][number];

/** The sections of a status; an absent one was never reported. */
export interface UnitPicture {
  readonly unitConfig?: readonly UnitConfigStatus[];
  readonly nodes?: readonly NodeStatus[];
  readonly items?: readonly ReportedItem[];
  readonly instances?: readonly ReportedInstances[];
  readonly subjects?: readonly Identity[];
}

export const EMPTY_PICTURE: UnitPicture = {};

const nameOf = (identity: { readonly id?: string | undefined; readonly codename?: string | undefined }) =>
  JSON.stringify([identity.id, identity.codename]);

const itemKey = ({ item, version }: ReportedItem) => `${nameOf(item)} ${version}`;
const groupKey = ({ item, subject, version }: ReportedInstances) => `${nameOf(item)} ${nameOf(subject)} ${version}`;

/** A full status replaces the picture, a delta changes what it names. The order of entries stays. */
export function mergeUnitStatus(picture: UnitPicture, status: UnitStatus): UnitPicture {
  const { unitConfig, nodes, items, instances, subjects } = status;
  if (!status.isDeltaInfo) {
    return {
      nodes: nodes ?? [],
      items: (items ?? []).filter(isThere),
      instances: instances ?? [],
      subjects: subjects ?? [],
      unitConfig: unitConfig ?? [],
    };
  }
  return {
    ...picture,
    ...(nodes && { nodes: replace(picture.nodes, nodes, (node) => node.identity.codename) }),
    ...(items && { items: replace(picture.items, items, itemKey).filter(isThere) }),
    ...(instances && { instances: mergeInstances(picture.instances ?? [], instances) }),
    ...(subjects && { subjects }),
    ...(unitConfig && { unitConfig: mergeUnitConfig(picture.unitConfig ?? [], unitConfig) }),
  };
}

/** Whether a node has another state than before, or is new. */
export function hasMovedNodes(before: UnitPicture, after: UnitPicture): boolean {
  const former = new Map((before.nodes ?? []).map(({ identity, state }) => [identity.codename, state]));
  return (after.nodes ?? []).some(({ identity, state }) => former.get(identity.codename) !== state);
}

/** A delta reports once that an item was removed; a full status leaves it out. */
const isThere = (item: ReportedItem): boolean => item.state !== 'removed';

function replace<T>(old: readonly T[] = [], changed: readonly T[], keyOf: (entry: T) => string): T[] {
  const byKey = new Map(old.map((entry) => [keyOf(entry), entry]));
  for (const entry of changed) byKey.set(keyOf(entry), entry);
  return [...byKey.values()];
}

function mergeInstances(old: readonly ReportedInstances[], changed: readonly ReportedInstances[]): ReportedInstances[] {
  const groups = new Map(old.map((group) => [groupKey(group), group]));
  for (const group of changed) {
    const known = groups.get(groupKey(group));
    const index = ({ instance }: ReportedInstance) => String(instance);
    groups.set(groupKey(group), { ...group, instances: replace(known?.instances, group.instances, index) });
  }
  return [...groups.values()];
}

/** A delta carries only the attempt: it is the configuration when it was installed, else the second entry. */
function mergeUnitConfig(old: readonly UnitConfigStatus[], changed: readonly UnitConfigStatus[]): UnitConfigStatus[] {
  if (changed.length !== 1 || changed[0]!.state !== 'failed') return [...changed];
  const installed = old.find((config) => config.state !== 'failed');
  return installed ? [installed, changed[0]!] : [...changed];
}
