/**
 * Bundles: what a unit shall be and the blobs for it in one signed file, for units without a cloud (spec/beyond.md P-12,
 * docs/decisions/0014-bundles.md). A tar of `bundle.json`, `signature.json`, then `blobs/<hex>` in the order of the list.
 */
import * as z from 'zod';
import { BlobInfo } from './blobs.ts';
import { Base64, list, Name, Time, text } from './values.ts';

export const BUNDLE_FORMAT = 'aos-bundle';
export const BUNDLE_VERSION = 1;

/** Names of the entries. */
export const BUNDLE_ENTRIES = { manifest: 'bundle.json', signature: 'signature.json', blobs: 'blobs/' } as const;

export const BUNDLE_LIMITS = {
  manifestBytes: 4 * 1024 * 1024,
  signatureBytes: 64 * 1024,
  units: 64,
  blobs: 16_384,
  certificates: 8,
} as const;

/** The purpose that the signing certificate must name: code signing. Certificates of units and people do not have it. */
export const BUNDLE_SIGNER_USAGE = '1.3.6.1.5.5.7.3.3';

/** A blob as the cloud serves it; it lies in the bundle instead of at addresses. */
export const BundleBlob = BlobInfo.omit({ urls: true, deltas: true });
export type BundleBlob = z.output<typeof BundleBlob>;

export const BundleManifest = z.object({
  format: z.literal(BUNDLE_FORMAT, `expected "${BUNDLE_FORMAT}"`),
  version: z.literal(BUNDLE_VERSION, `expected version ${BUNDLE_VERSION}, which is all that this release reads`),
  /** By the clock of the cloud, as in the headers of its messages: this orders bundles and messages. */
  createdAt: Time,
  units: list(
    z.object({
      systemId: Name,
      /** `data` of the desired status that the cloud would send; read as that message is. */
      desiredStatus: z.record(z.string(), z.unknown()),
    }),
    BUNDLE_LIMITS.units,
  ),
  blobs: list(BundleBlob, BUNDLE_LIMITS.blobs),
});
export type BundleManifest = z.output<typeof BundleManifest>;

/** Over the bytes of `bundle.json`. */
export const BundleSignature = z.object({
  alg: text(64),
  value: Base64,
  /** DER: the signing certificate, then intermediates; the root is not listed. */
  certificates: list(Base64, BUNDLE_LIMITS.certificates).refine((all) => all.length > 0, 'expected a certificate'),
});
export type BundleSignature = z.output<typeof BundleSignature>;
