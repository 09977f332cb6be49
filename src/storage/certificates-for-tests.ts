/** Certificates made on the spot, for tests. */
import 'reflect-metadata';
import { createPrivateKey, KeyObject, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);

const DAY_MS = 86_400_000;

export interface TestIdentity {
  readonly name: string;
  readonly pem: string;
  readonly der: Buffer;
  readonly keys: webcrypto.CryptoKeyPair;
  readonly privateKey: KeyObject;
}

export interface TestCertificateOptions {
  readonly issuer?: TestIdentity;
  readonly ca?: boolean;
  readonly pathLength?: number;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly dnsName?: string;
  /** Hex digits; default: a random one. */
  readonly serial?: string;
  readonly keys?: webcrypto.CryptoKeyPair;
  readonly extensions?: x509.Extension[];
}

const SIGNING = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const RSA = {
  name: 'RSASSA-PKCS1-v1_5',
  hash: 'SHA-256',
  modulusLength: 2048,
  publicExponent: new Uint8Array([1, 0, 1]),
};

export function makeKeys(kind: 'ec' | 'rsa' = 'ec'): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(kind === 'ec' ? SIGNING : RSA, true, [
    'sign',
    'verify',
  ]) as Promise<webcrypto.CryptoKeyPair>;
}

/** A certificate, self-signed when no issuer is given; valid from yesterday until tomorrow unless said otherwise. */
export async function makeCertificate(name: string, options: TestCertificateOptions = {}): Promise<TestIdentity> {
  const keys = options.keys ?? (await makeKeys());
  const extensions: x509.Extension[] = [
    new x509.BasicConstraintsExtension(options.ca ?? false, options.pathLength, true),
    ...(options.dnsName ? [new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: options.dnsName }])] : []),
    ...(options.extensions ?? []),
  ];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: options.serial ?? Buffer.from(webcrypto.getRandomValues(new Uint8Array(8))).toString('hex'),
    subject: `CN=${name}`,
    issuer: `CN=${options.issuer?.name ?? name}`,
    notBefore: options.notBefore ?? new Date(Date.now() - DAY_MS),
    notAfter: options.notAfter ?? new Date(Date.now() + DAY_MS),
    publicKey: keys.publicKey,
    signingKey: (options.issuer?.keys ?? keys).privateKey,
    signingAlgorithm: SIGNING,
    extensions,
  });
  return {
    name,
    pem: certificate.toString('pem'),
    der: Buffer.from(certificate.rawData),
    keys,
    privateKey: createPrivateKey(
      KeyObject.from(keys.privateKey as webcrypto.CryptoKey).export({ format: 'pem', type: 'pkcs8' }),
    ),
  };
}
