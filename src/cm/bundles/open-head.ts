/** The beginning of a bundle: who signed it, for whom, what it wants (spec/beyond.md P-12, docs/decisions/0014-bundles.md). */
import { X509Certificate } from 'node:crypto';
import { AosError, asAosError, type Digest, digestOf, parseJson, readDocument } from '../../core/index.ts';
import {
  BUNDLE_FORMAT,
  BUNDLE_SIGNER_USAGE,
  BUNDLE_VERSION,
  type BundleBlob,
  BundleManifest,
  BundleSignature,
  type DesiredStatus,
  decodeCloudMessage,
  PROTOCOL_VERSION,
  timeOf,
} from '../../protocol/index.ts';
import { checkSignature, claimedTimeBounds } from '../../storage/index.ts';

/** The two entries that everything else follows from, as they lie in the file. */
export interface HeadBytes {
  readonly manifest: Buffer;
  readonly signature: Buffer;
}

/** What this unit believes. */
export interface BundleTrust {
  readonly systemId: string;
  readonly roots: readonly X509Certificate[];
  readonly now: Date;
}

/** A head that is signed as it should be, and for this unit. */
export interface BundleHead {
  /** Of the manifest: the name of the bundle. */
  readonly digest: Digest;
  /** As the cloud writes times; texts of two bundles compare as their times do. */
  readonly createdAt: string;
  readonly desired: DesiredStatus;
  readonly blobs: readonly BundleBlob[];
}

const CHAIN = 'bundle';

/**
 * Checks signature, form and unit, in this order: nothing of what is not signed is read. Throws an error that says what
 * is wrong with the bundle: `invalidChecksum` for a changed one, `notSupported` for a newer form, else
 * `invalidArgument`.
 */
export function openHead({ manifest, signature }: HeadBytes, trust: BundleTrust): BundleHead {
  const { value: sign } = readDocument(
    BundleSignature,
    parseJson(signature.toString('utf8'), 'the signature of the bundle'),
    { what: 'the signature of the bundle' },
  );
  const signer = signerOf(sign);
  const unread = parseJson(manifest.toString('utf8'), 'the list of the bundle') as Partial<BundleManifest> | null;
  checkForm(unread);
  // The time that the chain is judged at is in the signed text itself; a forged one falls with the signature.
  const createdAt = readDocument(BundleManifest.pick({ createdAt: true }), unread, { what: 'the list of the bundle' });
  checkSigned(manifest, sign, timeOf(createdAt.value.createdAt), trust);
  if (!(signer.keyUsage ?? []).includes(BUNDLE_SIGNER_USAGE)) {
    throw new AosError(
      'invalidArgument',
      `the bundle is signed by ${nameOf(signer)}, which may not sign bundles: its certificate is not for code signing`,
    );
  }
  const { value } = readDocument(BundleManifest, unread, { what: 'the list of the bundle' });
  const mine = value.units.find(({ systemId }) => systemId === trust.systemId);
  if (!mine) {
    const others = value.units.map(({ systemId }) => systemId);
    const named =
      others.length > 8 ? `${others.slice(0, 8).join(', ')} and ${others.length - 8} more` : others.join(', ');
    throw new AosError('invalidArgument', `the bundle is for ${named || 'no unit'}; this unit is ${trust.systemId}`);
  }
  return {
    digest: digestOf(manifest),
    createdAt: value.createdAt,
    desired: readDesired(mine.desiredStatus, trust.systemId),
    blobs: value.blobs,
  };
}

function signerOf({ certificates }: BundleSignature): X509Certificate {
  try {
    return new X509Certificate(Buffer.from(certificates[0]!, 'base64'));
  } catch (error) {
    throw new AosError('invalidArgument', 'the certificate in the signature of the bundle cannot be read', {
      cause: error,
    });
  }
}

/** Said before the signature is looked at: a newer form may be signed in another way. */
function checkForm(unread: Partial<Record<keyof BundleManifest, unknown>> | null): void {
  if (unread?.format !== BUNDLE_FORMAT) throw new AosError('invalidArgument', 'the file is no bundle for a unit');
  if (unread.version === BUNDLE_VERSION) return;
  throw new AosError(
    'notSupported',
    `the bundle has form ${JSON.stringify(unread.version)}, this release reads form ${BUNDLE_VERSION}; update the unit first`,
  );
}

function checkSigned(manifest: Buffer, sign: BundleSignature, signedAt: Date, { roots, now }: BundleTrust): void {
  try {
    const check = checkSignature(
      { chainName: CHAIN, alg: sign.alg, value: Buffer.from(sign.value, 'base64'), trustedTimestamp: signedAt },
      {
        certificates: sign.certificates.map((der, index) => ({
          fingerprint: String(index),
          der: Buffer.from(der, 'base64'),
        })),
        chains: [{ name: CHAIN, fingerprints: sign.certificates.map((_, index) => String(index)) }],
        roots,
        claimedTime: claimedTimeBounds(now),
      },
    );
    check.update(manifest);
    check.verify();
  } catch (error) {
    const aos = asAosError(error);
    throw new AosError(aos.code, `the bundle is not believed: ${aos.message}`, { cause: error });
  }
}

/** All of it or nothing: a person stands before the unit who can make another bundle. */
function readDesired(desiredStatus: Record<string, unknown>, systemId: string): DesiredStatus {
  const frame = {
    header: { version: PROTOCOL_VERSION, systemId },
    data: { ...desiredStatus, messageType: 'desiredStatus' },
  };
  const { data, refused } = decodeCloudMessage(Buffer.from(JSON.stringify(frame)));
  const [first] = refused;
  if (first) throw new AosError('invalidArgument', `the desired status of the bundle is bad: ${first.error.message}`);
  return data as DesiredStatus;
}

const nameOf = ({ subject }: X509Certificate): string => `"${subject.replaceAll('\n', ', ')}"`;
