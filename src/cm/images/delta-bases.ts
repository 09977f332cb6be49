/** Which blobs on the unit a new layer may be like (docs/decisions/0025-deltas.md). */
import type { Digest } from '../../core/index.ts';
import type { ImageManifest } from '../../oci/index.ts';
import { MAX_BASES } from '../../protocol/index.ts';
import type { BlobStore } from '../../storage/index.ts';
import type { DocumentCache, LayerPlace, ManifestDocuments } from './item-documents.ts';
import type { ItemRow, ItemRows } from './item-rows.ts';

export interface BaseFacts {
  readonly rows: ItemRows;
  readonly documents: DocumentCache;
  readonly store: BlobStore;
}

/** A version that runs is there for certain; one that was removed last is the likeliest of the others. */
const PRECEDENCE: Readonly<Record<string, number>> = { installed: 0, pending: 1, removed: 2 };

/**
 * Layers of other versions of the item that are on the unit, of an image for the same platform: those in the same place,
 * counted from the first or from the last layer, before the others.
 */
export async function deltaBases(row: ItemRow, place: LayerPlace, facts: BaseFacts): Promise<Digest[]> {
  const { rows, documents, store } = facts;
  const found = new Set<Digest>();
  for (const { indexDigest } of formerVersions(rows.all(), row)) {
    // A version that cannot be read any more is nothing to begin with.
    const item = await documents.read(indexDigest).catch(() => undefined);
    for (const { manifest } of item?.manifests.filter((one) => isForSamePlatform(one, place)) ?? []) {
      for (const digest of manifest ? byPlace(manifest, place) : []) {
        if (found.size === MAX_BASES) return [...found];
        if (await store.has(digest)) found.add(digest);
      }
    }
  }
  return [...found];
}

function formerVersions(rows: readonly ItemRow[], { itemId, version }: ItemRow): ItemRow[] {
  const rank = ({ state }: ItemRow) => PRECEDENCE[state] ?? PRECEDENCE.removed! + 1;
  return rows
    .filter((row) => row.itemId === itemId && row.version !== version)
    .sort((a, b) => rank(a) - rank(b) || b.changedAtMs - a.changedAtMs);
}

function isForSamePlatform({ imageConfig }: ManifestDocuments, { config }: LayerPlace): boolean {
  return imageConfig?.architecture === config?.architecture && imageConfig?.os === config?.os;
}

function byPlace({ layers }: ImageManifest, { index, count }: LayerPlace): Digest[] {
  const same = [layers[index], layers[layers.length - count + index]].flatMap((layer) => (layer ? [layer.digest] : []));
  return [...new Set([...same, ...layers.map(({ digest }) => digest)])];
}
