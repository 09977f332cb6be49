/** Which versions may be wanted (spec/product.md 2.3, release gates). */
import { AosError } from '../../core/index.ts';
import type { PublishedItem } from '../store/items.ts';
import type { Stores } from '../store/stores.ts';

/**
 * The published version. Throws `notFound` when there is none, `wrongState` when it was rejected, or when nobody has
 * judged it yet and it is not for units that verify.
 */
export async function deployableItem(
  stores: Stores,
  itemId: string,
  version: string,
  verifies: boolean,
): Promise<PublishedItem> {
  const item = await stores.items.get(itemId, version);
  const refusal = refusalOf(item, verifies);
  if (refusal !== undefined) throw new AosError('wrongState', refusal);
  return item;
}

/** Why a published version must not be wanted; undefined when it may. Pure. */
export function refusalOf(item: PublishedItem, verifies: boolean): string | undefined {
  const { id, version, verification, verificationReason } = item;
  if (verification === 'rejected') return `${id} ${version} was rejected: ${verificationReason || 'no reason given'}`;
  if (verification === 'valid' || verifies) return undefined;
  return `${id} ${version} is not verified yet; until then only units of a verification set take it`;
}
