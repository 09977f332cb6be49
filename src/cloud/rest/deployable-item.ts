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
  if (item.verification === 'valid' || (item.verification === 'pending' && verifies)) return item;
  throw new AosError(
    'wrongState',
    item.verification === 'rejected'
      ? `${itemId} ${version} was rejected: ${item.verificationReason ?? 'no reason given'}`
      : `${itemId} ${version} is not verified yet; until then only units of a verification set take it`,
  );
}
