/** The complete wanted state of the unit (spec/cloud-protocol.md 8.3). */
import * as z from 'zod';
import { CloudIdentity, ItemIdentity, NodeIdentity } from './identity.ts';
import { message } from './message.ts';
import { MAX_LABELS, UnitConfig } from './unit-config.ts';
import { Base64, DigestText, Flag, list, Name, text, Uint, VersionText } from './values.ts';

/** Capacities (spec/decisions.md 8.3). */
const MAX = { nodes: 128, items: 1024, instances: 10_000, subjects: 256, certificates: 32, chains: 8, fingerprints: 8 };
const MAX_CERTIFICATE_BYTES = 8 * 1024;
const MAX_PRIORITY = 999_999;

export const DesiredNode = z.object({ item: NodeIdentity, state: z.enum(['provisioned', 'paused']) });
export type DesiredNode = z.output<typeof DesiredNode>;

/** Read under both names of the identity, `item` first (spec/decisions.md C-06). */
export const DesiredItem = z
  .object({
    item: ItemIdentity.optional(),
    identity: ItemIdentity.optional(),
    version: VersionText,
    owner: CloudIdentity,
    /** Digest of the image index, from which everything else is found. */
    indexDigest: DigestText,
  })
  .transform(({ item, identity, version, owner, indexDigest }, context) => {
    const named = item ?? identity;
    if (named) return { item: named, version, owner, indexDigest };
    context.addIssue({ code: 'custom', path: ['item'], message: 'expected an identity' });
    return z.NEVER;
  });
export type DesiredItem = z.output<typeof DesiredItem>;

export const DesiredInstance = z.object({
  item: CloudIdentity,
  subject: CloudIdentity,
  priority: Uint.refine((value) => value <= MAX_PRIORITY, `expected at most ${MAX_PRIORITY}`).default(0),
  /** Absent: 1 for a service, 0 for a component, which means one per fitting runtime (spec/decisions.md C-08). */
  numInstances: Uint.optional(),
  labels: list(text(64), MAX_LABELS).default([]),
});
export type DesiredInstance = z.output<typeof DesiredInstance>;

export const DesiredSubject = z.object({
  identity: CloudIdentity,
  type: z.enum(['group', 'user']),
  /** True: its instances run only while the unit itself reports this subject. */
  isReportedFromUnit: Flag,
});
export type DesiredSubject = z.output<typeof DesiredSubject>;

export const DesiredCertificate = z.object({
  /** DER. */
  certificate: Base64.refine(
    (value) => value !== '' && Buffer.byteLength(value, 'base64') <= MAX_CERTIFICATE_BYTES,
    `expected a certificate of at most ${MAX_CERTIFICATE_BYTES} bytes`,
  ),
  /** A name inside this message, compared without regard to case. */
  fingerprint: Name,
});
export type DesiredCertificate = z.output<typeof DesiredCertificate>;

export const DesiredChain = z.object({
  name: Name,
  /** The signing certificate, then intermediates; the root is not listed. */
  fingerprints: list(Name, MAX.fingerprints),
});
export type DesiredChain = z.output<typeof DesiredChain>;

/** An absent section keeps what was said last; an empty one removes everything (spec/decisions.md C-05). */
export const DesiredStatus = message('desiredStatus', {
  nodes: list(DesiredNode, MAX.nodes).optional(),
  unitConfig: UnitConfig.optional(),
  items: list(DesiredItem, MAX.items).optional(),
  instances: list(DesiredInstance, MAX.instances).optional(),
  subjects: list(DesiredSubject, MAX.subjects).optional(),
  certificates: list(DesiredCertificate, MAX.certificates).optional(),
  certificateChains: list(DesiredChain, MAX.chains).optional(),
});
export type DesiredStatus = z.output<typeof DesiredStatus>;
