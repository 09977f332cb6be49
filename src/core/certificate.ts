/** Certificates, their text, and who has issued them. Pure. */
import type { X509Certificate } from 'node:crypto';

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** The certificates of a PEM text, each as PEM; what they hold is not looked at. */
export function certificateBlocks(pem: string): readonly string[] {
  return pem.match(BLOCK) ?? [];
}

/**
 * Of certificates that all have the name of the issuer, the one whose key has signed: an authority that changes its key keeps
 * its name. The first one when none has signed: what is wrong then is for those to say who check signatures.
 */
export function issuerAmong(
  certificate: X509Certificate,
  named: readonly X509Certificate[],
): X509Certificate | undefined {
  if (named.length < 2) return named[0];
  return named.find(({ publicKey }) => certificate.verify(publicKey)) ?? named[0];
}
