/** The wanted state of the unit as it was accepted last (spec/cm.md 2.1, spec/decisions.md C-05, CM-07). Pure. */

import type { X509Certificate } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { DesiredInstance, DesiredStatus, RefusedEntry } from '../../protocol/index.ts';
import { claimedTimeBounds, type SignatureTrust } from '../../storage/index.ts';
import type { WantedItem } from '../images/index.ts';
import { withoutContradictions } from './contradictions.ts';
import { type Desired, NOTHING_DESIRED } from './desired-model.ts';
import { withRefusals } from './refusals.ts';
import { isSameContent, type RejectedItem } from './roll-back.ts';

/**
 * What a message means after what was said before: an absent section keeps its last value, and so does what an entry
 * that was refused names (spec/decisions.md C-05, C-17).
 */
export function mergeDesired(
  message: DesiredStatus,
  before: Desired = NOTHING_DESIRED,
  refused: readonly RefusedEntry[] = [],
): Desired {
  const said = mergeSections(message, before);
  return withoutContradictions(refused.length === 0 ? said : withRefusals(said, before, refused));
}

function mergeSections(message: DesiredStatus, before: Desired): Desired {
  return {
    nodes: message.nodes ?? [],
    ...(message.unitConfig && { unitConfig: message.unitConfig }),
    items: message.items ?? before.items,
    instances: message.instances ?? before.instances,
    subjects: message.subjects ?? before.subjects,
    certificates: message.certificates ?? before.certificates,
    certificateChains: message.certificateChains ?? before.certificateChains,
  };
}

/** Sections in which two desired states differ; the order of entries does not count. */
export function differingSections(a: Desired, b: Desired): (keyof Desired)[] {
  const sections = Object.keys({ ...NOTHING_DESIRED, unitConfig: undefined }) as (keyof Desired)[];
  return sections.filter((section) => !isDeepStrictEqual(unordered(a[section]), unordered(b[section])));
}

function unordered(section: Desired[keyof Desired]): unknown {
  return Array.isArray(section) ? section.map((entry) => canonicalText(entry)).sort() : section;
}

/** Equal for entries whose members are equal, whatever their order. */
function canonicalText(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}

/** Items as the image manager gets them; `rejected` are versions that were rolled back. */
export function wantedItems(desired: Desired, rejected: readonly RejectedItem[] = []): WantedItem[] {
  return desired.items.map(({ item, version, indexDigest }) => {
    const wanted: WantedItem = { itemId: item.id, version, type: item.type, indexDigest };
    const error = rejected.find((one) => isSameContent(one, wanted))?.error;
    return error ? { ...wanted, rejected: error } : wanted;
  });
}

/** How many instances an entry asks for (spec/decisions.md C-08). */
export function numInstancesOf(desired: Desired, instance: DesiredInstance): number {
  if (instance.numInstances !== undefined) return instance.numInstances;
  const item = desired.items.find(({ item }) => item.id === instance.item.id);
  return item?.item.type === 'component' ? 0 : 1;
}

/** Whom the unit believes about signatures of blobs. */
export function trustOf(desired: Desired, roots: readonly X509Certificate[], now: Date): SignatureTrust {
  return {
    certificates: desired.certificates.map(({ fingerprint, certificate }) => ({
      fingerprint,
      der: Buffer.from(certificate, 'base64'),
    })),
    chains: desired.certificateChains,
    roots,
    claimedTime: claimedTimeBounds(now),
  };
}
