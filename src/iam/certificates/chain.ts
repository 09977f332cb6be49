/** Chains as they are handed over to be applied (spec/iam.md 9.7, spec/decisions.md IA-11). Pure. */
import { X509Certificate } from 'node:crypto';
import { AosError, certificateBlocks, issuerAmong, readDer, readDerSequence } from '../../core/index.ts';
import { MAX_CERTIFICATE_BYTES, MAX_CHAIN_CERTIFICATES } from '../limits.ts';

export interface Chain {
  readonly leaf: X509Certificate;
  /** The others in the order from the leaf up; the last one is self-signed. */
  readonly issuers: readonly X509Certificate[];
}

/**
 * Reads a PEM text: the leaf first, its issuers in any order, the self-signed root among them.
 * Throws `invalidArgument` for what cannot be read, `notFound` for an issuer that is missing.
 */
export function parseChain(pem: string): Chain {
  const blocks = certificateBlocks(pem);
  const begun = pem.match(/BEGIN CERTIFICATE-/g)?.length ?? 0;
  if (blocks.length === 0) throw new AosError('notFound', 'the chain has no certificate');
  if (blocks.length !== begun) {
    throw new AosError('invalidArgument', `${begun} certificates begin, but only ${blocks.length} can be read`);
  }
  if (blocks.length > MAX_CHAIN_CERTIFICATES) {
    throw new AosError('noMemory', `the chain has ${blocks.length} certificates, at most ${MAX_CHAIN_CERTIFICATES}`);
  }
  const [leaf, ...others] = blocks.map(parseBlock);
  return { leaf: leaf!, issuers: linkIssuers(leaf!, others) };
}

function parseBlock(block: string, index: number): X509Certificate {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(block);
  } catch (error) {
    const message = `certificate ${index + 1} of the chain cannot be read: ${(error as Error).message}`;
    throw new AosError('invalidArgument', message, { cause: error });
  }
  if (certificate.raw.length > MAX_CERTIFICATE_BYTES) {
    throw new AosError(
      'noMemory',
      `certificate ${index + 1} has ${certificate.raw.length} bytes, at most ${MAX_CERTIFICATE_BYTES}`,
    );
  }
  return certificate;
}

/** Each step takes a certificate away, so a loop of issuers ends as a missing one. */
function linkIssuers(leaf: X509Certificate, others: readonly X509Certificate[]): X509Certificate[] {
  const left = [...others];
  const issuers: X509Certificate[] = [];
  for (let current = leaf; !isSelfIssued(current); ) {
    const { issuer } = names(current);
    const found = issuerAmong(
      current,
      left.filter((candidate) => names(candidate).subject.equals(issuer)),
    );
    if (!found) {
      throw new AosError(
        'notFound',
        `the chain has no certificate of the issuer "${oneLine(current.issuer)}"; the root belongs to it`,
      );
    }
    left.splice(left.indexOf(found), 1);
    issuers.push(found);
    current = found;
  }
  return issuers;
}

function oneLine(name: string): string {
  return name.replaceAll('\n', ', ');
}

interface Names {
  /** DER. */
  readonly issuer: Buffer;
  readonly subject: Buffer;
  /** Unsigned, big-endian, without leading zeros. */
  readonly serial: Buffer;
}

/** Issuer, subject and serial number as their bytes stand in the certificate. */
export function names(certificate: X509Certificate): Names {
  const body = readDer(readDer(certificate.raw).content).content;
  const parts: Buffer[] = [];
  for (let rest = body; rest.length > 0 && parts.length < 7; ) {
    const { sizeBytes } = readDer(rest);
    parts.push(rest.subarray(0, sizeBytes));
    rest = rest.subarray(sizeBytes);
  }
  const [serial, , issuer, , subject] = parts[0]![0] === 0xa0 ? parts.slice(1) : parts;
  const [value] = readDerSequence(serial!);
  return { issuer: issuer!, subject: subject!, serial: trimZeros(value!.content) };
}

/** A serial number 0 keeps its one byte. */
function trimZeros(bytes: Buffer): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  return bytes.subarray(start);
}

export function isSelfIssued(certificate: X509Certificate): boolean {
  const { issuer, subject } = names(certificate);
  return issuer.equals(subject);
}

/** SPKI (DER) of the certified key. */
export function publicKeyOf(certificate: X509Certificate): Buffer {
  return certificate.publicKey.export({ format: 'der', type: 'spki' });
}
