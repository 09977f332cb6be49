/** Blobs that no item names any more (spec/cm.md 3.2, spec/decisions.md CM-19). What cannot be proven unused stays. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '../../core/index.ts';
import { type BlobStore, discardDownload } from '../../storage/index.ts';
import { type DocumentCache, digestsOf } from './item-documents.ts';
import type { ItemRow } from './item-rows.ts';

export interface InUse {
  readonly digests: ReadonlySet<Digest>;
  /** False: an item that was whole once has a document that cannot be read now, so more may be in use. */
  readonly certain: boolean;
}

/** Everything that rows name, directly or through their documents. */
export async function digestsInUse(rows: readonly ItemRow[], documents: DocumentCache): Promise<InUse> {
  const digests = new Set<Digest>();
  let certain = true;
  for (const row of rows) {
    const { digests: named, complete } = await digestsOf(row.indexDigest, documents);
    for (const digest of named) digests.add(digest);
    // Of an item that was never whole nothing is known that could get lost.
    const wasWhole = row.state !== 'downloading' && row.state !== 'failed';
    if (!complete && wasWhole) certain = false;
  }
  return { digests, certain };
}

export interface OrphanFacts {
  readonly rows: readonly ItemRow[];
  readonly documents: DocumentCache;
  readonly store: BlobStore;
  /** Removes a blob; false when it is wanted after all. */
  readonly remove: (digest: Digest) => Promise<boolean>;
  readonly downloadDirectory: string;
}

/** Deletes blobs and partial downloads that nobody needs; answers the digests of deleted blobs. */
export async function deleteOrphans(facts: OrphanFacts): Promise<Digest[]> {
  const { rows, documents, store, remove, downloadDirectory } = facts;
  const { digests, certain } = await digestsInUse(rows, documents);
  if (!certain) return [];
  const deleted: Digest[] = [];
  for await (const { digest } of store.list()) {
    if (!digests.has(digest) && (await remove(digest))) deleted.push(digest);
  }
  // Layers of an item whose documents are still to come are not known yet: its partial downloads stay.
  if (rows.some(({ state }) => state === 'downloading')) return deleted;
  for (const name of await readdir(downloadDirectory)) {
    const [, file, hex] = /^(([0-9a-f]{64})(?:\.delta)?)(?:\.from)?$/.exec(name) ?? [];
    if (file && !digests.has(`sha256:${hex}`)) await discardDownload(join(downloadDirectory, file));
  }
  return deleted;
}
