/** Bundles made on the spot, for tests; each part can be spoiled. */
import 'reflect-metadata';
import { sign, X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { pack } from 'tar-stream';
import type { Digest } from '../../core/index.ts';
import { BUNDLE_ENTRIES, BUNDLE_FORMAT, BUNDLE_VERSION, type BundleBlob, formatTime } from '../../protocol/index.ts';
import { makeCertificate, type TestIdentity } from '../../storage/certificates-for-tests.ts';

export interface BundleParts {
  readonly units: Readonly<Record<string, object>>;
  readonly blobs?: readonly { readonly info: BundleBlob; readonly file: Buffer }[];
  readonly createdAt?: Date;
  readonly signer?: TestIdentity;
  /** What is written instead of the list that was signed. */
  readonly manifest?: (signed: object) => object;
  readonly changeBeforeSigning?: (manifest: object) => object;
}

/** An authority that signs bundles. */
export class BundleMaker {
  readonly root: TestIdentity;
  readonly signer: TestIdentity;

  private constructor(root: TestIdentity, signer: TestIdentity) {
    this.root = root;
    this.signer = signer;
  }

  static async create(): Promise<BundleMaker> {
    const root = await makeCertificate('root', { ca: true });
    return new BundleMaker(root, await signerOf(root));
  }

  get roots(): X509Certificate[] {
    return [new X509Certificate(this.root.pem)];
  }

  /** The entries of a bundle, in their order. */
  entries(parts: BundleParts): [name: string, content: Buffer][] {
    const { units, blobs = [], createdAt = new Date(), signer = this.signer } = parts;
    const plain = {
      format: BUNDLE_FORMAT,
      version: BUNDLE_VERSION,
      createdAt: formatTime(createdAt),
      units: Object.entries(units).map(([systemId, desiredStatus]) => ({ systemId, desiredStatus })),
      blobs: blobs.map(({ info }) => info),
    };
    const signed = parts.changeBeforeSigning?.(plain) ?? plain;
    const bytes = Buffer.from(JSON.stringify(signed));
    const signature = {
      alg: 'EC/SHA256',
      value: sign('sha256', bytes, signer.privateKey).toString('base64'),
      certificates: [signer.der.toString('base64')],
    };
    const { manifest, signature: signatureName, blobs: prefix } = BUNDLE_ENTRIES;
    return [
      [manifest, parts.manifest ? Buffer.from(JSON.stringify(parts.manifest(signed))) : bytes],
      [signatureName, Buffer.from(JSON.stringify(signature))],
      ...blobs.map(({ info, file }): [string, Buffer] => [`${prefix}${hexOf(info.digest)}`, file]),
    ];
  }
}

/** A certificate below `root` that may sign bundles. */
export function signerOf(root: TestIdentity): Promise<TestIdentity> {
  return makeCertificate('bundle signer', {
    issuer: root,
    extensions: [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.codeSigning])],
  });
}

/** The archive of these entries. */
export async function tarOf(entries: readonly (readonly [name: string, content: Buffer])[]): Promise<Buffer> {
  const tar = pack();
  for (const [name, content] of entries) tar.entry({ name }, content);
  tar.finalize();
  const pieces: Buffer[] = [];
  for await (const piece of tar as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces);
}

const hexOf = (digest: Digest) => digest.slice('sha256:'.length);
