/** Parts of certificates and signatures in the forms that PKCS#11 wants them. Pure. */
import { AosError, readDer, writeDer, writeDerInteger } from '../../core/index.ts';

/** Subject, issuer and serial number of a certificate, each as the DER bytes that stand in it. */
export interface CertificateParts {
  readonly subject: Buffer;
  readonly issuer: Buffer;
  /** A DER INTEGER. */
  readonly serial: Buffer;
}

/** OID of P-384 (1.3.132.0.34) as DER. */
export const P384_PARAMS = Buffer.from('06052b81040022', 'hex');

/** Throws `invalidArgument` for what is no certificate. */
export function certificateParts(der: Buffer): CertificateParts {
  const outer = readDer(der);
  const tbs = readDer(outer.content);
  const values: Buffer[] = [];
  for (let rest = tbs.content; rest.length > 0; ) {
    const value = readDer(rest);
    values.push(rest.subarray(0, value.sizeBytes));
    rest = rest.subarray(value.sizeBytes);
  }
  // Version is optional and tagged [0]; then serial, algorithm, issuer, validity, subject.
  const [serial, , issuer, , subject] = values[0]?.[0] === 0xa0 ? values.slice(1) : values;
  if (!serial || !issuer || !subject) throw new AosError('invalidArgument', 'the bytes are no X.509 certificate');
  return { serial, issuer, subject };
}

/**
 * SPKI (DER) of an RSA key. Written by hand: a process whose OpenSSL engine was loaded by a configuration file cannot
 * import a JWK (and dies of one with an EC key).
 */
export function rsaSpki(modulus: Buffer, exponent: Buffer): Buffer {
  const key = writeDer(0x30, writeDerInteger(modulus), writeDerInteger(exponent));
  const algorithm = writeDer(0x30, Buffer.from('06092a864886f70d010101', 'hex'), writeDer(0x05));
  return writeDer(0x30, algorithm, writeDer(0x03, Buffer.from([0]), key));
}

/** SPKI (DER) of a P-384 key from `CKA_EC_POINT`, which is an OCTET STRING around the uncompressed point. */
export function p384Spki(ecPoint: Buffer): Buffer {
  const point = ecPoint[0] === 0x04 && ecPoint.length === 97 ? ecPoint : readDer(ecPoint).content;
  if (point.length !== 97 || point[0] !== 0x04) {
    throw new AosError('notSupported', 'the public key in the token is no uncompressed point of P-384');
  }
  const algorithm = writeDer(0x30, Buffer.from('06072a8648ce3d0201', 'hex'), P384_PARAMS);
  return writeDer(0x30, algorithm, writeDer(0x03, Buffer.from([0]), point));
}

/** The DER form of an ECDSA signature that a token gives as r‖s. */
export function ecdsaDer(raw: Buffer): Buffer {
  const half = raw.length / 2;
  return writeDer(0x30, writeDerInteger(raw.subarray(0, half)), writeDerInteger(raw.subarray(half)));
}
