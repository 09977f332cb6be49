/** Image index: the manifests of one version of an item (spec/oci-items.md 2 and 3). */
import * as z from 'zod';
import { DigestText, SystemText, Uint } from './scalars.ts';

/** Most manifests of an index (spec/decisions.md 8.3). */
export const MAX_MANIFESTS = 16;

const descriptorShape = {
  mediaType: z.string().default(''),
  digest: DigestText,
  /** Bytes of the plain blob; 0 when not said. */
  size: Uint.default(0),
};

/** Names a blob by its digest. */
export const Descriptor = z.object(descriptorShape);
export type Descriptor = z.output<typeof Descriptor>;

/** A platform as an index names it; decoration, since the image configuration decides. */
export const IndexPlatform = z.object({
  architecture: SystemText.optional(),
  variant: SystemText.optional(),
  os: SystemText.optional(),
  'os.version': SystemText.optional(),
  'os.features': z.array(SystemText).optional(),
});
export type IndexPlatform = z.output<typeof IndexPlatform>;

/** The order of the manifests is the order of preference. */
export const ImageIndex = z.object({
  schemaVersion: z.number().default(0),
  mediaType: z.string().default(''),
  artifactType: z.string().optional(),
  manifests: z
    .array(
      z.object({
        ...descriptorShape,
        platform: IndexPlatform.optional(),
        /** Only builders' layouts have them; they name the images of a layout. */
        annotations: z.record(z.string(), z.string()).optional(),
      }),
    )
    .max(MAX_MANIFESTS, `expected at most ${MAX_MANIFESTS} manifests`)
    .default([]),
});
export type ImageIndex = z.output<typeof ImageIndex>;
