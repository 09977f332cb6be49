/** Signatures of blobs, checked while they stream (spec/cloud-protocol.md 9.7, spec/decisions.md C-36, beyond.md R-12). */
import { constants, createVerify, type KeyObject, type Verify, type X509Certificate } from 'node:crypto';
import { AosError, readDer, readDerSequence } from '../core/index.ts';
import { parseCertificate, verifyChain } from './certificate-chain.ts';

/** `signInfo` of a blob, its base64 decoded and its time read. */
export interface SignInfo {
  readonly chainName: string;
  /** `<key>[/<hash>[/<padding>]]`, as `RSA/SHA256/PKCS1v1_5`. */
  readonly alg: string;
  readonly value: Uint8Array;
  readonly trustedTimestamp: Date;
}

/** What a desired status and the unit believe. */
export interface SignatureTrust {
  readonly certificates: readonly { readonly fingerprint: string; readonly der: Uint8Array }[];
  readonly chains: readonly { readonly name: string; readonly fingerprints: readonly string[] }[];
  readonly roots: readonly X509Certificate[];
  readonly claimedTime: ClaimedTimeBounds;
}

/** Between which moments a signer may claim to have signed; an absent bound is none. */
export interface ClaimedTimeBounds {
  readonly earliest?: Date | undefined;
  readonly latest?: Date | undefined;
}

/** Signers' clocks may be ahead of ours by this. */
const CLOCK_TOLERANCE_MS = 24 * 3600 * 1000;
/** A clock that shows less was never set (spec/beyond.md R-03). */
const PLAUSIBLE_SINCE = new Date('2024-01-01T00:00:00Z');

/** Nobody has signed in the future; a unit whose clock was never set cannot tell. */
export function claimedTimeBounds(now: Date): ClaimedTimeBounds {
  return now < PLAUSIBLE_SINCE ? {} : { latest: new Date(now.getTime() + CLOCK_TOLERANCE_MS) };
}

const HASHES: ReadonlySet<string> = new Set(['SHA256', 'SHA384', 'SHA512']);

/** Takes the plain content piece by piece and says at the end whether it is what was signed. */
export interface SignatureCheck {
  update(chunk: Uint8Array): void;
  /** Throws `invalidChecksum` when the signature is not of this content. */
  verify(): void;
}

/**
 * Begins a check, after everything that can be judged without the content: algorithm, chain, time. Throws
 * `notSupported`, `notFound` for an unknown chain, else `invalidArgument`.
 */
export function checkSignature(info: SignInfo, trust: SignatureTrust): SignatureCheck {
  const { key, hash, padding } = parseAlgorithm(info.alg);
  const { latest, earliest } = trust.claimedTime;
  const claimed = info.trustedTimestamp;
  if ((latest && claimed > latest) || (earliest && claimed < earliest)) {
    throw new AosError('invalidArgument', `signature claims an impossible time: ${claimed.toISOString()}`);
  }
  const { publicKey } = trustedSigner(info, trust);
  if (publicKey.asymmetricKeyType !== key) {
    throw new AosError(
      'invalidArgument',
      `signature algorithm ${info.alg} does not fit the ${publicKey.asymmetricKeyType} key of the signing certificate`,
    );
  }
  const verifier = createVerify(hash);
  return {
    update: (chunk) => {
      verifier.update(chunk);
    },
    verify: () => {
      if (fits(verifier, key, publicKey, info.value, padding)) return;
      throw new AosError('invalidChecksum', `signature is wrong (${info.alg}, chain "${info.chainName}")`);
    },
  };
}

/** Signers that were found to be trusted, by chain and time: blobs of one item are signed by one, and each is asked for. */
const trusted = new WeakMap<SignatureTrust, Map<string, X509Certificate>>();

/** The certificate that signed, whose chain leads to a root. */
function trustedSigner({ chainName, trustedTimestamp }: SignInfo, trust: SignatureTrust): X509Certificate {
  const known = trusted.get(trust) ?? new Map<string, X509Certificate>();
  trusted.set(trust, known);
  const key = `${trustedTimestamp.getTime()} ${chainName}`;
  const found = known.get(key);
  if (found) return found;
  const [signer, ...intermediates] = findChain(chainName, trust);
  verifyChain(signer!, intermediates, trust.roots, trustedTimestamp);
  known.set(key, signer!);
  return signer!;
}

function parseAlgorithm(alg: string): { key: 'rsa' | 'ec'; hash: string; padding: string } {
  const [key = '', hashText, padding = ''] = alg.trim().toUpperCase().split('/');
  const hash = hashText || 'SHA256';
  if (key !== 'RSA' && key !== 'EC' && key !== 'ECDSA') {
    throw new AosError('notSupported', `signature algorithm "${alg}" is not supported, expected RSA or EC`);
  }
  if (!HASHES.has(hash)) throw new AosError('notSupported', `unsupported hashing algorithm "${hash}"`);
  return { key: key === 'RSA' ? 'rsa' : 'ec', hash, padding };
}

/** The signing certificate and its intermediates. The first of two equal names counts. */
function findChain(name: string, trust: SignatureTrust): X509Certificate[] {
  if (name === '') throw new AosError('invalidArgument', 'bad chain name');
  const chain = trust.chains.find((candidate) => candidate.name === name);
  if (!chain) throw new AosError('notFound', `certificate chain "${name}" is not in the desired status`);
  if (chain.fingerprints.length === 0) throw new AosError('invalidArgument', 'chain has no fingerprints');
  return chain.fingerprints.flatMap((fingerprint, index) => {
    const wanted = fingerprint.toUpperCase();
    const found = trust.certificates.find((certificate) => certificate.fingerprint.toUpperCase() === wanted);
    if (found) return [parseCertificate(found.der, `certificate ${fingerprint} of chain "${name}"`)];
    // A missing intermediate matters only if no path is found without it.
    if (index > 0) return [];
    throw new AosError('invalidArgument', 'signing certificate is absent');
  });
}

function fits(verifier: Verify, kind: 'rsa' | 'ec', key: KeyObject, signature: Uint8Array, padding: string): boolean {
  try {
    return kind === 'ec' ? verifyEc(verifier, key, signature) : verifyRsa(verifier, key, signature, padding);
  } catch {
    // OpenSSL throws for bytes that cannot be a signature at all.
    return false;
  }
}

function verifyRsa(verifier: Verify, key: KeyObject, signature: Uint8Array, padding: string): boolean {
  return verifier.verify(
    padding === 'PSS'
      ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO }
      : { key, padding: constants.RSA_PKCS1_PADDING },
    signature,
  );
}

/** ECDSA signatures come as DER or as r and s one after the other; nobody says which. */
function verifyEc(verifier: Verify, key: KeyObject, signature: Uint8Array): boolean {
  return verifier.verify(
    { key, dsaEncoding: isDerSignature(Buffer.from(signature)) ? 'der' : 'ieee-p1363' },
    signature,
  );
}

function isDerSignature(bytes: Buffer): boolean {
  try {
    const sequence = readDer(bytes);
    const values = readDerSequence(sequence.content);
    return (
      sequence.tag === 0x30 &&
      sequence.sizeBytes === bytes.length &&
      values.length === 2 &&
      values.every(({ tag }) => tag === 0x02)
    );
  } catch {
    // Bytes that are no DER are the other form.
    return false;
  }
}
