/** Image manifest: configurations and layers of an item for one platform (spec/oci-items.md 4). */
import * as z from 'zod';
import { Descriptor } from './image-index.ts';

/** Most layers of a manifest (spec/decisions.md 8.3). */
export const MAX_LAYERS = 64;

export const ImageManifest = z.object({
  schemaVersion: z.number().default(0),
  config: Descriptor,
  /** Needed to run the item; a manifest without it is skipped when placing. */
  aosItemConfig: Descriptor.optional(),
  layers: z.array(Descriptor).max(MAX_LAYERS, `expected at most ${MAX_LAYERS} layers`).default([]),
});
export type ImageManifest = z.output<typeof ImageManifest>;
