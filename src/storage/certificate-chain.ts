/**
 * Chains of certificates that sign blobs (spec/cloud-protocol.md 9.7): up to a root of the unit, as of the time that
 * the signer claims.
 */
import { X509Certificate } from 'node:crypto';
import { AosError, certificateBlocks, type DerValue, readDer, readDerSequence, readObjectId } from '../core/index.ts';

/** Longer chains are not built. */
const MAX_DEPTH = 8;

const BASIC_CONSTRAINTS = '2.5.29.19';

/** Extensions that may be critical: what they say is checked here or does not limit a signer of blobs. */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  BASIC_CONSTRAINTS,
  '2.5.29.14', // subject key identifier
  '2.5.29.15', // key usage
  '2.5.29.17', // subject alternative name
  '2.5.29.18', // issuer alternative name
  '2.5.29.35', // authority key identifier
  '2.5.29.37', // extended key usage
]);

/**
 * Finds a path from a certificate over intermediates to a root, with every signature right and every certificate
 * valid at the given time. Throws `invalidArgument` naming what is missing or wrong.
 */
export function verifyChain(
  leaf: X509Certificate,
  intermediates: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  at: Date,
): void {
  const complaints: string[] = [];
  if (!reachesRoot(leaf, { intermediates, roots, at, complaints }, 0)) {
    const why = complaints.length === 0 ? 'no known certificate issued it' : complaints.join('; ');
    throw new AosError('invalidArgument', `certificate chain is not trusted: ${nameOf(leaf)}: ${why}`);
  }
}

/** The certificates of a PEM text. Throws `invalidArgument` when one cannot be read. */
export function parseCertificates(pem: string): X509Certificate[] {
  return certificateBlocks(pem).map((block) => parseCertificate(block, 'a certificate of a PEM file'));
}

/** Reads PEM or DER. Throws `invalidArgument`. */
export function parseCertificate(data: string | Uint8Array, what: string): X509Certificate {
  try {
    return new X509Certificate(data);
  } catch (error) {
    throw new AosError('invalidArgument', `${what} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

interface Search {
  readonly intermediates: readonly X509Certificate[];
  readonly roots: readonly X509Certificate[];
  readonly at: Date;
  readonly complaints: string[];
}

/** `below` counts the intermediates between this certificate and the signing one. */
function reachesRoot(certificate: X509Certificate, search: Search, below: number): boolean {
  const complaint = refuse(certificate, search.at);
  if (complaint !== undefined) {
    search.complaints.push(complaint);
    return false;
  }
  if (search.roots.some((root) => root.fingerprint256 === certificate.fingerprint256)) return true;
  if (below >= MAX_DEPTH) return false;
  const issuedBy = (issuer: X509Certificate) => mayIssue(issuer, certificate, below, search.complaints);
  return (
    search.roots.some((root) => issuedBy(root) && reachesRoot(root, search, below + 1)) ||
    search.intermediates.some(
      (issuer) =>
        issuer.fingerprint256 !== certificate.fingerprint256 &&
        issuedBy(issuer) &&
        reachesRoot(issuer, search, below + 1),
    )
  );
}

/** Why this certificate cannot be part of a chain, whatever its place. */
function refuse(certificate: X509Certificate, at: Date): string | undefined {
  if (at < certificate.validFromDate || at > certificate.validToDate) {
    return `${nameOf(certificate)} is valid from ${certificate.validFrom} to ${certificate.validTo}, not at ${at.toISOString()}`;
  }
  const strange = extensionsOf(certificate).find(({ critical, id }) => critical && !UNDERSTOOD.has(id));
  return strange && `${nameOf(certificate)} has the critical extension ${strange.id}, which is not understood`;
}

function mayIssue(issuer: X509Certificate, subject: X509Certificate, below: number, complaints: string[]): boolean {
  if (!subject.checkIssued(issuer) || !subject.verify(issuer.publicKey)) return false;
  if (!issuer.ca) {
    complaints.push(`${nameOf(issuer)} is no certificate authority`);
    return false;
  }
  const most = pathLengthOf(issuer);
  if (most === undefined || below <= most) return true;
  complaints.push(`${nameOf(issuer)} allows ${most} authorities below it, there are ${below}`);
  return false;
}

function nameOf(certificate: X509Certificate): string {
  return `"${certificate.subject.replaceAll('\n', ', ')}"`;
}

interface Extension {
  readonly id: string;
  readonly critical: boolean;
  readonly value: Buffer;
}

const EXTENSIONS_TAG = 0xa3;
const BOOLEAN_TAG = 0x01;
const INTEGER_TAG = 0x02;

function extensionsOf(certificate: X509Certificate): Extension[] {
  const [signed] = readDerSequence(readDer(certificate.raw).content);
  const block = readDerSequence(signed!.content).find(({ tag }) => tag === EXTENSIONS_TAG);
  return block ? readDerSequence(readDer(block.content).content).map(readExtension) : [];
}

function readExtension({ content }: DerValue): Extension {
  const values = readDerSequence(content);
  const critical = values.some(({ tag, content: flag }) => tag === BOOLEAN_TAG && flag[0] !== 0);
  return { id: readObjectId(values[0]!.content), critical, value: values.at(-1)!.content };
}

/** How many intermediates an authority allows below it, undefined without limit. */
function pathLengthOf(certificate: X509Certificate): number | undefined {
  const constraints = extensionsOf(certificate).find(({ id }) => id === BASIC_CONSTRAINTS);
  if (!constraints) return undefined;
  const length = readDerSequence(readDer(constraints.value).content).find(({ tag }) => tag === INTEGER_TAG);
  return length?.content.reduce((value, byte) => value * 256 + byte, 0);
}
