/** Where blobs can be downloaded (spec/cloud-protocol.md 8.5, 8.6). */
import * as z from 'zod';
import { correlatedMessage } from './message.ts';
import { Base64, Checksum256, DigestText, list, Name, Time, text, Uint } from './values.ts';

const MAX_BLOBS = 16;

export const RequestBlobUrls = correlatedMessage('requestBlobUrls', {
  digests: list(DigestText, MAX_BLOBS),
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

export const BlobInfo = z.object({
  digest: DigestText,
  urls: list(text(4096), 8).refine((urls) => urls.length > 0, 'expected at least one URL'),
  /** Hex of the checksum of the file as it is downloaded: SHA3-256 or SHA-256 (spec/decisions.md C-01). */
  sha256: Checksum256,
  /** Bytes of the file as it is downloaded. */
  size: Uint,
  decryptInfo: DecryptInfo.optional(),
  signInfo: SignInfo.optional(),
});
export type BlobInfo = z.output<typeof BlobInfo>;

/** No entry means that the cloud does not have the blob. */
export const BlobUrls = correlatedMessage('blobUrls', {
  items: list(BlobInfo, MAX_BLOBS).default([]),
});
export type BlobUrls = z.output<typeof BlobUrls>;
