/** Digests of blobs: `<algorithm>:<hex>` (spec/oci-items.md 2). */
import { createHash } from 'node:crypto';
import { AosError } from './error.ts';

/** A digest in its text form, checked by `parseDigest`. */
export type Digest = string;

const DIGEST = /^(sha256):([0-9a-f]{64})$/;

/** Takes a digest apart. Throws `invalidArgument` naming the text; only sha256 is known. */
export function parseDigest(text: string): { readonly algorithm: 'sha256'; readonly hex: string } {
  const match = DIGEST.exec(text.toLowerCase());
  if (!match) {
    throw new AosError('invalidArgument', `digest "${text}" is not of the form sha256:<64 hex digits>`);
  }
  return { algorithm: 'sha256', hex: match[2]! };
}

/** The digest of bytes that are in memory. */
export function digestOf(data: string | Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`;
}
