/** From an OCI image to an image of an Aos item (spec/oci-items.md 4 to 6, spec/decisions.md 4.1). Pure. */
import { AosError, digestOf, isObject, parseJson } from '../../core/index.ts';
import {
  checkDiffIds,
  type Descriptor,
  isServiceLayer,
  MEDIA_TYPES,
  parseImageConfig,
  parseImageManifest,
  readItemConfig,
} from '../../oci/index.ts';

export type ItemType = 'service' | 'component';

/** A document that was written here, ready for upload. */
export interface Document {
  readonly descriptor: Descriptor;
  readonly text: string;
}

export interface RepackedImage {
  readonly manifest: Document;
  /** Entry of the image index. */
  readonly indexEntry: object;
  readonly imageConfig: Document;
  /** As in the manifest: the first one is on top. */
  readonly layers: readonly Descriptor[];
}

/** Other names of the same thing; units know one. */
const LAYER_TYPES: Readonly<Record<string, string>> = {
  [MEDIA_TYPES.dockerLayerTarGzip]: MEDIA_TYPES.layerTarGzip,
};

/** A value as a JSON document, with what points to it. */
export function makeDocument(value: unknown, mediaType: string): Document {
  const text = JSON.stringify(value);
  return { text, descriptor: { mediaType, digest: digestOf(text), size: Buffer.byteLength(text) } };
}

export interface ItemConfigDocument {
  readonly document: Document;
  /** The author's layers stand topmost first already. */
  readonly isTopmostFirst: boolean;
  /** Keys that nobody reads. */
  readonly warnings: readonly string[];
}

/**
 * The item configuration of an image: the author's, with what an OCI image implies. Nothing of the node lies underneath
 * a complete image. Throws `invalidArgument` for what a unit would refuse.
 */
export function itemConfigFor(type: ItemType, text: string | undefined): ItemConfigDocument {
  const { value, warnings } = readItemConfig(text ?? '{}');
  const author: unknown = parseJson(text ?? '{}', 'the item configuration');
  if (!isObject(author)) throw new AosError('invalidArgument', 'the item configuration is no JSON object');
  if (type === 'component' && !value.namesRuntimes) {
    throw new AosError(
      'invalidArgument',
      'the item configuration of a component must name its "runtimes", such as [{"codename": "rootfs"}]',
    );
  }
  const written = Object.keys(author).map((key) => key.toLowerCase());
  const others = Object.entries(author).filter(([key]) => key.toLowerCase() !== 'layerorder');
  const document = {
    ...Object.fromEntries(others),
    ...(type === 'service' && !written.includes('baselayerisnoderootfs') && { baseLayerIsNodeRootfs: false }),
  };
  return {
    document: makeDocument(document, MEDIA_TYPES.itemConfig),
    isTopmostFirst: value.layerOrder === 'aos',
    warnings,
  };
}

/**
 * Layers of a service are turned round, since an Aos unit takes the first one as the topmost; the history goes, since
 * it would say otherwise. Throws `invalidArgument` or `outOfRange` naming what a unit could not run.
 */
export function repackImage(
  type: ItemType,
  manifestText: string,
  configText: string,
  itemConfig: ItemConfigDocument,
): RepackedImage {
  const manifest = parseImageManifest(manifestText);
  const image = parseImageConfig(configText);
  if (type === 'service') {
    checkDiffIds(image, manifest.layers.length);
    const unknown = manifest.layers.find(({ mediaType }) => !isServiceLayer(mediaType));
    if (unknown) throw new AosError('invalidArgument', `layer ${unknown.digest} is of type "${unknown.mediaType}"`);
  }
  const turn = <T>(list: readonly T[]): T[] =>
    type === 'service' && !itemConfig.isTopmostFirst ? list.toReversed() : [...list];
  const layers = turn(manifest.layers).map(({ mediaType, digest, size }) => ({
    mediaType: LAYER_TYPES[mediaType] ?? mediaType,
    digest,
    size,
  }));
  const original = parseJson(configText, 'the image configuration') as Record<string, unknown>;
  const kept = Object.entries(original).filter(([key]) => !['history', 'rootfs'].includes(key.toLowerCase()));
  const imageConfig = makeDocument(
    {
      ...Object.fromEntries(kept),
      ...(type === 'service' && { rootfs: { type: 'layers', diff_ids: turn(image.rootfs.diff_ids) } }),
    },
    MEDIA_TYPES.imageConfig,
  );
  const written = makeDocument(
    {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.imageManifest,
      config: imageConfig.descriptor,
      aosItemConfig: itemConfig.document.descriptor,
      layers,
    },
    MEDIA_TYPES.imageManifest,
  );
  const { architecture, variant, os } = image;
  const platform = { architecture, ...(variant && { variant }), os: os ?? 'linux' };
  return { manifest: written, imageConfig, layers, indexEntry: { ...written.descriptor, platform } };
}

/** The index over the images of an item, in their order. */
export function imageIndexOf(images: readonly RepackedImage[]): Document {
  return makeDocument(
    { schemaVersion: 2, mediaType: MEDIA_TYPES.imageIndex, manifests: images.map((image) => image.indexEntry) },
    MEDIA_TYPES.imageIndex,
  );
}
