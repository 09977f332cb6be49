/** Which layer lies on top (spec/decisions.md 4.1). */
import { AosError } from '../core/index.ts';
import type { ImageConfig } from './image-config.ts';
import type { ItemConfig } from './item-config.ts';

export interface LayerOrder {
  /** `aos`: the first entry is on top; `oci`: the first entry is at the bottom. */
  readonly order: 'aos' | 'oci';
  /** The rule that decided, for `aosctl why`. */
  readonly because: string;
}

/** Decides how `layerCount` layers of an item are stacked; the first rule that applies wins. */
export function layerOrder(
  itemConfig: Pick<ItemConfig, 'layerOrder'>,
  imageConfig: Pick<ImageConfig, 'history'>,
  layerCount: number,
): LayerOrder {
  if (itemConfig.layerOrder) {
    return { order: itemConfig.layerOrder, because: `the item says layerOrder "${itemConfig.layerOrder}"` };
  }
  const made = imageConfig.history?.filter((step) => !step.empty_layer).length;
  if (layerCount >= 2 && made === layerCount) {
    return { order: 'oci', because: `the image has a builder's history of its ${layerCount} layers` };
  }
  return { order: 'aos', because: 'the item says nothing else: its first layer is on top' };
}

/** The layers, topmost first. */
export function stackLayers<T>(layers: readonly T[], { order }: Pick<LayerOrder, 'order'>): T[] {
  return order === 'aos' ? [...layers] : layers.toReversed();
}

/** Each layer must have its `diff_id`, and no more of them (spec/decisions.md C-56). Throws `outOfRange`. */
export function checkDiffIds(imageConfig: Pick<ImageConfig, 'rootfs'>, layerCount: number): void {
  const count = imageConfig.rootfs.diff_ids.length;
  if (count !== layerCount) {
    throw new AosError('outOfRange', `the image has ${layerCount} layers and ${count} diff_ids, expected one for each`);
  }
}
