/**
 * Certificates and keys of a daemon, as IAM tells where they are (spec/iam.md 11, 12.4; spec/decisions.md 7.3).
 * Every daemon but IAM itself gets what it shows on TLS connections from here.
 */
import type { TlsIdentity } from '../api/index.ts';

/** What IAM answers about a certificate. */
export interface CertificateUrls {
  readonly type: string;
  readonly certUrl: string;
  readonly keyUrl: string;
}

export interface CredentialSource {
  /** URLs of a certificate: the newest of a type, or the one with this issuer (DER) and serial (hex). */
  urls(type: string, issuer?: Uint8Array, serial?: string): Promise<CertificateUrls>;
  /** The chain (PEM, leaf first) and the key of the newest certificate of a type. */
  identity(type: string): Promise<TlsIdentity>;
  /**
   * Tells of each change of a type's certificate. The subscription at IAM is renewed when it breaks, and counts the
   * reconnection as no change unless the URLs differ. Returns the function that ends it.
   */
  onChange(type: string, listener: (urls: CertificateUrls) => void): () => void;
}
