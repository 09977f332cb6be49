/** From desired instances to what the launcher is asked to run (spec/cm.md 2.4 step 3, spec/decisions.md CM-10). Pure. */
import type { WantedItem } from '../images/index.ts';
import type { ItemStatus, RunRequest } from '../model.ts';
import { numInstancesOf } from './desired.ts';
import type { Desired } from './desired-model.ts';

export interface RunRequests {
  readonly requests: readonly RunRequest[];
  /** For people: what differs from the wish, and why. */
  readonly remarks: readonly { readonly itemId: string; readonly what: string; readonly because: string }[];
}

/** Installed items come in the order in which they were installed: the newest version is the last. */
export function runRequests(desired: Desired, items: readonly ItemStatus[]): RunRequests {
  const itemOf = new Map(desired.items.map((entry) => [entry.item.id, entry]));
  const subjectOf = new Map(desired.subjects.map((entry) => [entry.identity.id, entry]));
  const remarks: RunRequests['remarks'][number][] = [];
  const requests = desired.instances.map((entry): RunRequest => {
    const item = itemOf.get(entry.item.id);
    const subject = subjectOf.get(entry.subject.id);
    const itemId = entry.item.id;
    if (!item) remarks.push({ itemId, what: 'cannot run', because: 'the desired items do not name it' });
    const version = item ? usableVersion(itemId, item.version, items) : '';
    if (item && version !== item.version) {
      const failed = items.find((row) => row.itemId === itemId && row.version === item.version);
      const because = `version ${item.version} failed: ${failed?.error?.message || 'it is not on the unit'}`;
      remarks.push({ itemId, what: `goes on with version ${version}`, because });
    }
    return {
      itemId,
      type: item?.item.type ?? 'service',
      version,
      ownerId: item?.owner.id ?? '',
      subject: {
        id: entry.subject.id,
        type: subject?.type ?? 'group',
        isUnitSubject: subject?.isReportedFromUnit ?? false,
      },
      priority: entry.priority,
      numInstances: numInstancesOf(desired, entry),
      labels: entry.labels,
    };
  });
  return { requests, remarks };
}

/** The wanted version when it is on the unit, else the newest one that is installed, else the wanted one all the same. */
function usableVersion(itemId: string, wanted: string, items: readonly ItemStatus[]): string {
  const rows = items.filter((row) => row.itemId === itemId);
  const isThere = rows.some((row) => row.version === wanted && (row.state === 'pending' || row.state === 'installed'));
  if (isThere) return wanted;
  return rows.findLast(({ state }) => state === 'installed')?.version ?? wanted;
}

/** Items as they would be when everything wanted was downloaded. */
export function afterDownload(items: readonly ItemStatus[], wanted: readonly WantedItem[]): readonly ItemStatus[] {
  const isUsable = (row: ItemStatus) => row.state === 'pending' || row.state === 'installed';
  const missing = wanted.filter(
    ({ itemId, version, rejected }) =>
      !rejected && !items.some((row) => row.itemId === itemId && row.version === version && isUsable(row)),
  );
  return [
    ...items,
    ...missing.map(({ itemId, version, type }) => ({ itemId, version, type, state: 'pending' as const })),
  ];
}
