/** TLS material of gRPC servers and clients, HTTPS and WebSockets. */
import type { SecureContextOptions } from 'node:tls';

/**
 * A private key. A key in a token is named by its PKCS#11 URI, which says where the PIN is or the PIN itself; the
 * environment of the process says where OpenSSL finds its engine `pkcs11` (docs/keys.md).
 */
export type PrivateKey =
  | { readonly kind: 'token'; readonly uri: string }
  | { readonly kind: 'pem'; readonly pem: string };

/** What one side of a TLS connection shows: a certificate chain (PEM, leaf first) and its key. */
export interface TlsIdentity {
  readonly certificateChain: string;
  readonly key: PrivateKey;
}

/** Options for `tls`, `http2`, `https` and `ws` that present the identity. */
export function identityOptions(identity: TlsIdentity): SecureContextOptions {
  const { certificateChain, key } = identity;
  return key.kind === 'pem'
    ? { cert: certificateChain, key: key.pem }
    : { cert: certificateChain, privateKeyEngine: 'pkcs11', privateKeyIdentifier: key.uri };
}
