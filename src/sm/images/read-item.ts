/** The documents of an item in the order in which they name each other (spec/sm.md 3.3). */
import { AosError, allDone, type Digest, type ItemIdent, type ItemType } from '../../core/index.ts';
import {
  checkDiffIds,
  type Descriptor,
  type ImageConfig,
  type ImageManifest,
  type ItemConfig,
  layerOrder,
  parseImageConfig,
  parseImageManifest,
  readItemConfig,
  stackLayers,
} from '../../oci/index.ts';
import type { InstalledItem } from '../model.ts';

/** Which item in which content. */
export interface WantedItem extends ItemIdent {
  readonly type: ItemType;
  readonly manifestDigest: Digest;
}

export interface ItemDocuments {
  readonly manifest: ImageManifest;
  readonly imageConfig?: ImageConfig | undefined;
  readonly itemConfig?: ItemConfig | undefined;
  /** What the author of the item configuration should know: keys that nobody reads. */
  readonly warnings: readonly string[];
}

/** Reads one document; `what` is for errors. */
export type ReadDocument = (descriptor: Pick<Descriptor, 'digest' | 'size'>, what: string) => Promise<string>;

/** Reads manifest, item configuration and, for services, image configuration. Throws what reading or parsing throws. */
export async function readItemDocuments(wanted: WantedItem, read: ReadDocument): Promise<ItemDocuments> {
  const name = `${wanted.itemId} ${wanted.version}`;
  const manifest = parseImageManifest(await read({ digest: wanted.manifestDigest, size: 0 }, `manifest of ${name}`));
  const { aosItemConfig, config, layers } = manifest;
  const readItem = async () =>
    aosItemConfig && readItemConfig(await read(aosItemConfig, `item configuration of ${name}`));
  const readImage = async () =>
    wanted.type === 'component' ? undefined : parseImageConfig(await read(config, `image configuration of ${name}`));
  const [item, imageConfig] = await allDone([readItem(), readImage()]);
  if (imageConfig) checkDiffIds(imageConfig, layers.length);
  return { manifest, itemConfig: item?.value, imageConfig, warnings: item?.warnings ?? [] };
}

/** Digests of the documents. */
export function documentDigests(wanted: WantedItem, { manifest }: ItemDocuments): Digest[] {
  const { aosItemConfig, config } = manifest;
  return [
    wanted.manifestDigest,
    ...(aosItemConfig ? [aosItemConfig.digest] : []),
    ...(wanted.type === 'service' ? [config.digest] : []),
  ];
}

/** The item as others use it; `pathOf` says where a layer or file lies. */
export function toInstalledItem(
  wanted: WantedItem,
  documents: ItemDocuments,
  pathOf: (digest: Digest) => string,
): InstalledItem {
  const { manifest, imageConfig, itemConfig } = documents;
  const paths = manifest.layers.map(({ digest }) => pathOf(digest));
  const common = { ...wanted, manifest, ...(itemConfig && { itemConfig }) };
  if (wanted.type === 'component') return { ...common, layers: [], layerOrderBecause: '', files: paths };
  if (!imageConfig) throw new AosError('notFound', `service ${wanted.itemId} has no image configuration`);
  const order = layerOrder(itemConfig ?? {}, imageConfig, paths.length);
  return { ...common, imageConfig, layers: stackLayers(paths, order), layerOrderBecause: order.because, files: [] };
}
