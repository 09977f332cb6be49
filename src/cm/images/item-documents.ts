/** The documents of an item: index, manifests, configurations (spec/cm.md 3.1, 3.10). Read once, verified, cached. */
import { asAosError, type Digest, type ErrorInfo, throwIfCanceled, toErrorInfo } from '../../core/index.ts';
import {
  type ImageConfig,
  type ImageIndex,
  type ImageManifest,
  type ItemConfig,
  parseImageConfig,
  parseImageIndex,
  parseImageManifest,
  parseItemConfig,
} from '../../oci/index.ts';
import type { BlobStore } from '../../storage/index.ts';
import { IMAGES } from '../numbers.ts';

/** One manifest of an item, with what could be read of it. */
export interface ManifestDocuments {
  readonly digest: Digest;
  readonly manifest?: ImageManifest;
  readonly imageConfig?: ImageConfig;
  /** Absent without an error: the manifest names none. */
  readonly itemConfig?: ItemConfig;
  /** Why this manifest cannot be used; the texts are those that instances report (spec/cm.md 4.7, 11.3). */
  readonly error?: ErrorInfo;
}

export interface ItemDocuments {
  readonly indexDigest: Digest;
  readonly index: ImageIndex;
  /** In the order of the index. */
  readonly manifests: readonly ManifestDocuments[];
}

/** Documents of so many blobs are kept in memory. */
const MAX_CACHED = 4096;

/** Reads documents of a store; what was read once is not read again, since a digest never changes its content. */
export class DocumentCache {
  readonly #store: BlobStore;
  readonly #cache = new Map<string, unknown>();

  constructor(store: BlobStore) {
    this.#store = store;
  }

  index(digest: Digest): Promise<ImageIndex> {
    return this.#read(digest, parseImageIndex);
  }

  manifest(digest: Digest): Promise<ImageManifest> {
    return this.#read(digest, parseImageManifest);
  }

  imageConfig(digest: Digest): Promise<ImageConfig> {
    return this.#read(digest, parseImageConfig);
  }

  itemConfig(digest: Digest): Promise<ItemConfig> {
    return this.#read(digest, parseItemConfig);
  }

  /** Everything of an item. Throws when the index cannot be read; a manifest that cannot says so itself. */
  async read(indexDigest: Digest): Promise<ItemDocuments> {
    const index = await this.index(indexDigest);
    const manifests = await Promise.all(index.manifests.map(({ digest }) => this.#readManifest(digest)));
    return { indexDigest, index, manifests };
  }

  /** The blob is gone: what was read of it is not to be believed any more. */
  forget(digest: Digest): void {
    for (const parse of [parseImageIndex, parseImageManifest, parseImageConfig, parseItemConfig]) {
      this.#cache.delete(cacheKey(digest, parse));
    }
  }

  async #readManifest(digest: Digest): Promise<ManifestDocuments> {
    let manifest: ImageManifest | undefined;
    let itemConfig: ItemConfig | undefined;
    let doing = 'get image manifest failed';
    try {
      manifest = await this.manifest(digest);
      doing = 'get item config failed';
      if (manifest.aosItemConfig) itemConfig = await this.itemConfig(manifest.aosItemConfig.digest);
      doing = 'get image config failed';
      const imageConfig = await this.imageConfig(manifest.config.digest);
      return { digest, manifest, imageConfig, ...(itemConfig && { itemConfig }) };
    } catch (error) {
      const read = { ...(manifest && { manifest }), ...(itemConfig && { itemConfig }) };
      return { digest, ...read, error: toErrorInfo(asAosError(error, doing)) };
    }
  }

  async #read<T>(digest: Digest, parse: (text: string) => T): Promise<T> {
    const key = cacheKey(digest, parse);
    const known = this.#cache.get(key);
    if (known !== undefined) return known as T;
    const document = parse(await this.#store.readText(digest, IMAGES.maxDocumentBytes));
    if (this.#cache.size >= MAX_CACHED) this.#cache.delete(this.#cache.keys().next().value!);
    this.#cache.set(key, document);
    return document;
  }
}

function cacheKey(digest: Digest, parse: (text: string) => unknown): string {
  return `${parse.name} ${digest}`;
}

/** Where a layer stands in an item. */
export interface LayerPlace {
  readonly config: ImageConfig | undefined;
  readonly index: number;
  /** Layers of the same image. */
  readonly count: number;
}

export interface WalkOptions {
  readonly documents: DocumentCache;
  /** Makes the blob be there; throws when it cannot. Of a layer it learns the place. */
  readonly visit: (digest: Digest, layer?: LayerPlace) => Promise<void>;
  /** Whether layers of an image for this platform are needed. */
  readonly wantsPlatform: (config: ImageConfig) => boolean;
  readonly signal: AbortSignal;
}

/**
 * Visits every blob of an item, each document before what it names; what stands side by side is visited at the same
 * time (spec/cm.md 3.4).
 */
export async function walkItem(indexDigest: Digest, options: WalkOptions): Promise<void> {
  const { documents, visit, wantsPlatform, signal } = options;
  await visit(indexDigest);
  const index = await documents.index(indexDigest);
  await Promise.all(
    index.manifests.map(async ({ digest }) => {
      throwIfCanceled(signal);
      await visit(digest);
      const manifest = await documents.manifest(digest);
      await Promise.all([manifest.config, ...(manifest.aosItemConfig ? [manifest.aosItemConfig] : [])].map(visitAll));
      // A configuration that cannot be read concerns the instances of its platform only.
      const config = await documents.imageConfig(manifest.config.digest).catch(() => undefined);
      if (config !== undefined && !wantsPlatform(config)) return;
      const count = manifest.layers.length;
      await Promise.all(manifest.layers.map((layer, index) => visit(layer.digest, { config, index, count })));
    }),
  );

  function visitAll({ digest }: { readonly digest: Digest }): Promise<void> {
    return visit(digest);
  }
}

/** Digests of an item as far as its documents can be read; `complete` when all of them could. */
export async function digestsOf(
  indexDigest: Digest,
  documents: DocumentCache,
): Promise<{ readonly digests: readonly Digest[]; readonly complete: boolean }> {
  const digests: Digest[] = [indexDigest];
  try {
    const index = await documents.index(indexDigest);
    let complete = true;
    for (const { digest } of index.manifests) {
      digests.push(digest);
      try {
        const { config, aosItemConfig, layers } = await documents.manifest(digest);
        digests.push(config.digest, ...(aosItemConfig ? [aosItemConfig.digest] : []), ...layers.map((l) => l.digest));
      } catch {
        // What is below an unreadable manifest is unknown: the caller must not conclude anything from its absence.
        complete = false;
      }
    }
    return { digests, complete };
  } catch {
    return { digests, complete: false };
  }
}
