/** Making of certificates. */
import type { webcrypto } from 'node:crypto';
import { newSerialNumber, SIGNING_ALGORITHM, x509 } from './x509.ts';

const DAY_MS = 86_400_000;
/** Clocks of units may be behind: a new certificate is valid since yesterday. */
const BACKDATED_MS = DAY_MS;

export interface Issuer {
  readonly certificate: x509.X509Certificate;
  readonly key: webcrypto.CryptoKey;
}

export interface CertificateRequest {
  /** Parts of the subject, each with its values. */
  readonly subject: x509.JsonName;
  readonly publicKey: x509.PublicKeyType;
  readonly validDays: number;
  /** Absent: no CA. The number is how many CAs may follow below. */
  readonly pathLength?: number;
  readonly extensions?: readonly x509.Extension[];
  readonly now: Date;
}

const CA_USAGE = x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign;
const LEAF_USAGE = x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment;

/** A certificate signed by the issuer, or by its own key when there is none. */
export async function issueCertificate(
  request: CertificateRequest,
  issuer: Issuer | { readonly selfSignedWith: webcrypto.CryptoKey },
): Promise<x509.X509Certificate> {
  const { subject, publicKey, validDays, pathLength, extensions = [], now } = request;
  const isCa = pathLength !== undefined;
  const fromIssuer = 'certificate' in issuer ? issuer : undefined;
  const notAfter = new Date(now.getTime() + validDays * DAY_MS);
  const issuerEnd = fromIssuer?.certificate.notAfter;
  return x509.X509CertificateGenerator.create({
    serialNumber: newSerialNumber(),
    subject,
    issuer: fromIssuer ? fromIssuer.certificate.subjectName : subject,
    notBefore: new Date(now.getTime() - BACKDATED_MS),
    notAfter: issuerEnd && issuerEnd < notAfter ? issuerEnd : notAfter,
    publicKey,
    signingKey: 'certificate' in issuer ? issuer.key : issuer.selfSignedWith,
    signingAlgorithm: SIGNING_ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(isCa, pathLength, true),
      new x509.KeyUsagesExtension(isCa ? CA_USAGE : LEAF_USAGE, true),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      ...(fromIssuer ? [await x509.AuthorityKeyIdentifierExtension.create(fromIssuer.certificate)] : []),
      ...extensions,
    ],
  } as x509.X509CertificateCreateWithKeyParams);
}
