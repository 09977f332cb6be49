/** Makes bundles for units without a link (spec/beyond.md P-12, docs/decisions/0014-bundles.md). */
import { randomUUID, sign } from 'node:crypto';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Pack, pack } from 'tar-stream';
import { AosError, parseDigest } from '../../core/index.ts';
import {
  BUNDLE_ENTRIES,
  BUNDLE_FORMAT,
  BUNDLE_LIMITS,
  BUNDLE_VERSION,
  type DesiredStatus,
  encodeEnvelope,
  formatTime,
} from '../../protocol/index.ts';
import { type BlobVault, blobInfo, SIGNATURE_ALGORITHM } from '../blobs/blob-vault.ts';
import type { BundleSigner } from '../pki/authority.ts';
import type { BlobRow } from '../store/items.ts';

export interface BundleWishes {
  /** What each unit would be told now. */
  readonly units: readonly { readonly systemId: string; readonly desired: DesiredStatus }[];
  /** Those of the items that the units would have. */
  readonly blobs: readonly BlobRow[];
  readonly signer: BundleSigner;
  readonly now: Date;
}

/** A bundle that is complete but for the bytes of its blobs. */
export interface PlannedBundle {
  readonly manifest: Buffer;
  readonly signature: Buffer;
  readonly blobs: readonly BlobRow[];
}

/** The items that units would have. Pure. */
export function itemsOf(units: BundleWishes['units']): { readonly id: string; readonly version: string }[] {
  return units.flatMap(({ desired }) => desired.items ?? []).map(({ item, version }) => ({ id: item.id, version }));
}

/** What will be in a bundle. Throws `outOfRange` when it is more than a unit takes. */
export function planBundle({ units, blobs, signer, now }: BundleWishes): PlannedBundle {
  const manifest = Buffer.from(
    JSON.stringify({
      format: BUNDLE_FORMAT,
      version: BUNDLE_VERSION,
      createdAt: formatTime(now),
      units: units.map(({ systemId, desired }) => ({ systemId, desiredStatus: asSent(systemId, desired, now) })),
      // It lies in the bundle itself.
      blobs: blobs.map((blob) => ({ ...blobInfo(blob, ''), urls: undefined })),
    }),
  );
  if (manifest.length > BUNDLE_LIMITS.manifestBytes || blobs.length > BUNDLE_LIMITS.blobs) {
    throw new AosError(
      'outOfRange',
      `the list of the bundle has ${manifest.length} bytes for ${blobs.length} blobs, at most ` +
        `${BUNDLE_LIMITS.manifestBytes} bytes and ${BUNDLE_LIMITS.blobs} blobs are taken; make one for fewer units`,
    );
  }
  const signature = {
    alg: SIGNATURE_ALGORITHM,
    value: sign('sha256', manifest, signer.key).toString('base64'),
    certificates: signer.certificates.map((der) => der.toString('base64')),
  };
  return { manifest, signature: Buffer.from(JSON.stringify(signature)), blobs };
}

/** Writes a bundle as a tar, no faster than it is taken; memory does not grow with it. */
export async function writeBundle(bundle: PlannedBundle, vault: BlobVault, target: Writable): Promise<void> {
  const tar = pack();
  const sent = pipeline(tar, target);
  // A receiver that is gone ends the archive, too; whoever awaits below hears of it.
  sent.catch(() => tar.destroy());
  tar.entry({ name: BUNDLE_ENTRIES.manifest, mode: 0o600 }, bundle.manifest);
  tar.entry({ name: BUNDLE_ENTRIES.signature, mode: 0o600 }, bundle.signature);
  try {
    for (const blob of bundle.blobs) await addBlob(tar, blob, vault);
  } catch (error) {
    tar.destroy();
    // It ends because the archive was broken off just now; why is in the error that is thrown.
    await sent.catch(() => undefined);
    throw error;
  }
  tar.finalize();
  await sent;
}

async function addBlob(tar: Pack, { digest, file, fileBytes }: BlobRow, vault: BlobVault): Promise<void> {
  const content = await vault.read(file, 0, fileBytes - 1);
  const name = `${BUNDLE_ENTRIES.blobs}${parseDigest(digest).hex}`;
  // Made by another library than Node's streams, to the same pattern.
  const entry = tar.entry({ name, size: fileBytes, mode: 0o600 }) as unknown as Writable;
  await pipeline(content, entry);
}

/** `data` of the message as it would stand on the wire. */
function asSent(systemId: string, desired: DesiredStatus, now: Date): unknown {
  const frame = encodeEnvelope({ txn: randomUUID(), systemId, createdAt: now, data: desired });
  return (JSON.parse(frame.toString('utf8')) as { data: unknown }).data;
}
