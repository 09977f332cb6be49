/** Which certificates are renewed and in which order (spec/provisioning.md 11, spec/cloud-protocol.md 8.17 to 8.20). Pure. */
import { AosError, toErrorInfo } from '../../core/index.ts';
import {
  CERTIFICATE_TYPES,
  type InstallUnitCertificatesConfirmation,
  type IssuedCertificate,
  type RefusedEntry,
  type RenewCertificatesNotification,
} from '../../protocol/index.ts';

export type ConfirmedCertificate = InstallUnitCertificatesConfirmation['certificates'][number];

/** A key that is to be made. */
export interface KeyOrder {
  readonly type: string;
  readonly nodeId: string;
  readonly secret: string;
}

export interface RenewalPlan {
  readonly keys: readonly KeyOrder[];
  /** Entries that cannot be carried out; the others go on (spec/decisions.md PR-08). */
  readonly failed: readonly ConfirmedCertificate[];
  /** Types that nobody on the unit knows; only a line of the log (spec/decisions.md C-31). */
  readonly skipped: readonly { readonly type: string; readonly nodeId: string }[];
}

export function planRenewal({ certificates, unitSecrets }: RenewCertificatesNotification): RenewalPlan {
  const secrets = new Map(unitSecrets.nodes.map(({ node, secret }) => [node.codename, secret]));
  const keys: KeyOrder[] = [];
  const failed: ConfirmedCertificate[] = [];
  const skipped: { type: string; nodeId: string }[] = [];
  for (const { type, node } of certificates) {
    const nodeId = node.codename;
    const secret = secrets.get(nodeId);
    if (!CERTIFICATE_TYPES.includes(type)) skipped.push({ type, nodeId });
    else if (secret !== undefined) keys.push({ type, nodeId, secret });
    else failed.push(notInstalled(type, nodeId, new AosError('notFound', `no secret for node ${nodeId}`)));
  }
  return { keys, failed, skipped };
}

/**
 * The order of installation: other nodes before the main one, in each the `iam` certificate last, since its servers
 * restart with it.
 */
export function installOrder(certificates: readonly IssuedCertificate[], mainNodeId: string): IssuedCertificate[] {
  const rank = ({ node }: IssuedCertificate) => (node.codename === mainNodeId ? 1 : 0);
  const isIam = ({ type }: IssuedCertificate) => (type === 'iam' ? 1 : 0);
  return certificates.toSorted(
    (a, b) =>
      rank(a) - rank(b) ||
      (a.node.codename < b.node.codename ? -1 : a.node.codename > b.node.codename ? 1 : 0) ||
      isIam(a) - isIam(b),
  );
}

/** Reports an entry that did not become a certificate. */
export function notInstalled(type: string, nodeId: string, error: unknown): ConfirmedCertificate {
  return { type, node: { codename: nodeId }, serial: '', errorInfo: toErrorInfo(error) };
}

/** Reports entries that could not be read, as far as it can be told what they are for. */
export function confirmRefused(refused: readonly RefusedEntry[]): ConfirmedCertificate[] {
  return refused.flatMap(({ id, entry, error }) => {
    const { type } = (entry ?? {}) as { type?: unknown };
    return id === undefined ? [] : [notInstalled(typeof type === 'string' ? type : 'offline', id, error)];
  });
}

/** A type that the cloud wire does not know (spec/decisions.md C-31). */
export function unknownType(type: string): AosError {
  return new AosError('notSupported', `certificate type "${type.slice(0, 16)}" is not supported`);
}
