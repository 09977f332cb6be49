/** Where blobs can be downloaded (spec/cloud-protocol.md 8.5, 8.6). */
import * as z from 'zod';
import { correlatedMessage } from './message.ts';
import { Base64, Checksum256, DigestText, list, Name, Time, text, Uint } from './values.ts';

const MAX_BLOBS = 16;

/** Blobs that a unit names as a beginning of deltas, for each request. */
export const MAX_BASES = 4;

export const RequestBlobUrls = correlatedMessage('requestBlobUrls', {
  digests: list(DigestText, MAX_BLOBS),
  /**
   * Blobs that the unit has and that may be like the wanted ones, the likeliest first: only to a cloud that offers deltas
   * (docs/decisions/0025-deltas.md). What cannot be read is as if it were not there.
   */
  bases: list(DigestText, MAX_BASES).optional().catch(undefined),
});
export type RequestBlobUrls = z.output<typeof RequestBlobUrls>;

export const DecryptInfo = z.object({ blockAlg: z.string(), blockIv: Base64, blockKey: Base64 });
export type DecryptInfo = z.output<typeof DecryptInfo>;

export const SignInfo = z.object({
  chainName: Name,
  alg: text(64),
  /** Over the decrypted file. */
  value: Base64,
  /** The chain is judged as of this time. */
  trustedTimestamp: Time,
  /** Read in any length and not used (spec/decisions.md C-37). */
  ocspValues: list(z.string()).optional(),
});
export type SignInfo = z.output<typeof SignInfo>;

const Urls = list(text(4096), 8).refine((urls) => urls.length > 0, 'expected at least one URL');

/** A file that makes a wanted blob of one that the unit has; the others of its members are those of `BlobInfo`. */
export const BlobDelta = z.object({
  /** Digest of the blob that it begins with. */
  base: DigestText,
  /** How it is written; a unit passes over what it does not know. */
  format: z.string(),
  /** Bytes of the wanted blob in plain. */
  contentSize: Uint,
  urls: Urls,
  sha256: Checksum256,
  size: Uint,
  decryptInfo: DecryptInfo.optional(),
});
export type BlobDelta = z.output<typeof BlobDelta>;

/** Deltas are an extension (docs/decisions/0025-deltas.md): what cannot be read of them never costs the blob. */
const Deltas = z.unknown().transform((value): readonly BlobDelta[] =>
  (Array.isArray(value) ? value.slice(0, MAX_BASES) : []).flatMap((entry) => {
    const read = BlobDelta.safeParse(entry);
    return read.success ? [read.data] : [];
  }),
);

export const BlobInfo = z.object({
  digest: DigestText,
  urls: Urls,
  /** Hex of the checksum of the file as it is downloaded: SHA3-256 or SHA-256 (spec/decisions.md C-01). */
  sha256: Checksum256,
  /** Bytes of the file as it is downloaded. */
  size: Uint,
  decryptInfo: DecryptInfo.optional(),
  signInfo: SignInfo.optional(),
  deltas: Deltas.optional(),
});
export type BlobInfo = z.output<typeof BlobInfo>;

/** No entry means that the cloud does not have the blob. */
export const BlobUrls = correlatedMessage('blobUrls', {
  items: list(BlobInfo, MAX_BLOBS).default([]),
});
export type BlobUrls = z.output<typeof BlobUrls>;
