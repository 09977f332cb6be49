/** Items from OCI image layouts. */
import { chooseImages } from './choose-images.ts';
import type { OciLayout } from './oci-layout.ts';
import type { PreparedItem } from './prepared-item.ts';
import { type ItemType, imageIndexOf, itemConfigFor, type RepackedImage, repackImage } from './repack-image.ts';

export interface LayoutOptions {
  readonly type: ItemType;
  /** Which image of a layout with several. */
  readonly tag?: string | undefined;
  /** Text of the item configuration. */
  readonly itemConfig?: string | undefined;
}

/** Reads and checks everything but the content of layers. */
export async function prepareLayout(layout: OciLayout, options: LayoutOptions): Promise<PreparedItem> {
  const { type, tag } = options;
  const itemConfig = itemConfigFor(type, options.itemConfig);
  const chosen = await chooseImages(await layout.readIndex(), tag, (digest) => layout.readDocument(digest));
  const images: RepackedImage[] = [];
  for (const { digest } of chosen) {
    const manifest = await layout.readDocument(digest);
    const { config } = JSON.parse(manifest) as { config?: { digest?: string } };
    images.push(repackImage(type, manifest, await layout.readDocument(config?.digest ?? ''), itemConfig));
  }
  const layers = images.flatMap((image) => image.layers);
  for (const layer of layers) await layout.size(layer.digest);
  return {
    ...{ type, layers, index: imageIndexOf(images), imageCount: images.length, defaults: {} },
    documents: [itemConfig.document, ...images.flatMap((image) => [image.imageConfig, image.manifest])],
    warnings: itemConfig.warnings,
    read: (digest) => layout.read(digest),
  };
}
