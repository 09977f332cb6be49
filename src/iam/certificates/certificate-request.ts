/** Certificate requests and self-signed certificates as DER (spec/iam.md 9.6, 9.8). Pure but for the signer. */
import { createHash, randomBytes } from 'node:crypto';
import { AosError, readDer, readDerSequence, writeDer } from '../../core/index.ts';
import {
  derBitString,
  derBoolean,
  derObjectId,
  derOctetString,
  derSequence,
  derSet,
  derTime,
  derUtf8,
} from './der-forms.ts';

const OID = {
  commonName: '2.5.4.3',
  extensionRequest: '1.2.840.113549.1.9.14',
  subjectAltName: '2.5.29.17',
  extendedKeyUsage: '2.5.29.37',
  subjectKeyId: '2.5.29.14',
  authorityKeyId: '2.5.29.35',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  rsaWithSha256: '1.2.840.113549.1.1.11',
  ecdsaWithSha384: '1.2.840.10045.4.3.3',
} as const;

/** Subject and issuer of self-signed certificates (spec/iam.md 9.8). */
export const SELF_SIGNED_NAME = 'Aos Core';

export type KeyUsage = 'clientAuth' | 'serverAuth';

/** What signs: the private key in the token. */
export interface Signer {
  readonly kind: 'rsa' | 'ec';
  /** SPKI (DER) of the key. */
  readonly publicKey: Buffer;
  /** SHA-256 with RSA, or SHA-384 with ECDSA in DER form. */
  sign(message: Uint8Array): Buffer;
}

export interface RequestContents {
  /** Value of the one attribute of the subject, CN. */
  readonly commonName: string;
  readonly alternativeNames: readonly string[];
  readonly extendedKeyUsage: readonly KeyUsage[];
}

const MAX_COMMON_NAME_LENGTH = 64;
/** Twins parse the subject as text, where these begin another attribute (spec/decisions.md IA-10). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused.
const FORBIDDEN_IN_NAME = /[,/+=\u0000-\u001f\u007f]/;

/** Throws `invalidArgument` for a subject that is no plain name. */
export function checkCommonName(name: string): void {
  if (name === '' || name.length > MAX_COMMON_NAME_LENGTH) {
    throw new AosError(
      'invalidArgument',
      `the subject has ${name.length} characters, expected 1 to ${MAX_COMMON_NAME_LENGTH}`,
    );
  }
  if (FORBIDDEN_IN_NAME.test(name)) {
    throw new AosError('invalidArgument', 'the subject contains ",", "/", "+", "=" or a control character');
  }
}

/** A PKCS#10 request in PEM. */
export function makeRequest(contents: RequestContents, signer: Signer): string {
  checkCommonName(contents.commonName);
  const extensions = requestedExtensions(contents);
  const attributes =
    extensions.length === 0
      ? Buffer.alloc(0)
      : derSequence(derObjectId(OID.extensionRequest), derSet(derSequence(...extensions)));
  const info = derSequence(
    writeDer(0x02, Buffer.from([0])),
    nameOf(contents.commonName),
    signer.publicKey,
    writeDer(0xa0, attributes),
  );
  return toPem('CERTIFICATE REQUEST', signed(info, signer));
}

/** For 100 years, trusted by nobody: a key for disk encryption needs a certificate to be a valid set (spec/iam.md 9.8). */
export function makeSelfSigned(commonName: string, now: Date, signer: Signer): Buffer {
  const name = nameOf(commonName);
  const keyId = keyIdOf(signer.publicKey);
  const until = new Date(now);
  until.setUTCFullYear(now.getUTCFullYear() + 100);
  // Positive and without a leading zero, as a DER INTEGER wants it.
  const serial = randomBytes(8);
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  const body = derSequence(
    writeDer(0xa0, writeDer(0x02, Buffer.from([2]))),
    writeDer(0x02, serial),
    signatureAlgorithm(signer),
    name,
    derSequence(derTime(now), derTime(until)),
    name,
    signer.publicKey,
    writeDer(
      0xa3,
      derSequence(
        extension(OID.subjectKeyId, derOctetString(keyId)),
        extension(OID.authorityKeyId, derSequence(writeDer(0x80, keyId))),
      ),
    ),
  );
  return signed(body, signer);
}

export function toPem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

function requestedExtensions({ alternativeNames, extendedKeyUsage }: RequestContents): Buffer[] {
  const names = alternativeNames.map((name) => writeDer(0x82, Buffer.from(name, 'ascii')));
  const usages = extendedKeyUsage.map((usage) => derObjectId(OID[usage]));
  return [
    ...(names.length === 0 ? [] : [extension(OID.subjectAltName, derSequence(...names))]),
    ...(usages.length === 0 ? [] : [extension(OID.extendedKeyUsage, derSequence(...usages))]),
  ];
}

function extension(id: string, value: Buffer, critical = false): Buffer {
  return derSequence(derObjectId(id), ...(critical ? [derBoolean(true)] : []), derOctetString(value));
}

function nameOf(commonName: string): Buffer {
  return derSequence(derSet(derSequence(derObjectId(OID.commonName), derUtf8(commonName))));
}

function signatureAlgorithm({ kind }: Signer): Buffer {
  return kind === 'rsa'
    ? derSequence(derObjectId(OID.rsaWithSha256), writeDer(0x05, Buffer.alloc(0)))
    : derSequence(derObjectId(OID.ecdsaWithSha384));
}

function signed(body: Buffer, signer: Signer): Buffer {
  return derSequence(body, signatureAlgorithm(signer), derBitString(signer.sign(body)));
}

/** SHA-1 of the key bits: the customary identifier, no protection. */
function keyIdOf(spki: Buffer): Buffer {
  const [, bits] = readDerSequence(readDer(spki).content);
  return createHash('sha1').update(bits!.content.subarray(1)).digest();
}
