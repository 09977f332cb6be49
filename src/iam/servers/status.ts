/** What the control socket of IAM tells. */
import type { CertificateHandler } from '../certificates/certificate-handler.ts';
import { currentRecord } from '../certificates/token-scan.ts';
import type { NodeInfo } from '../node-info.ts';
import type { NodeLinkState } from '../nodes/main-link.ts';
import type { ServiceParts } from './services.ts';

export interface CertificateStatus {
  readonly type: string;
  readonly serial: string;
  /** ISO 8601. */
  readonly notAfter: string;
  readonly certUrl: string;
  /** Whether it is the one that others use. */
  readonly current: boolean;
}

export interface IamStatus {
  readonly mode: 'provisioning' | 'normal';
  readonly node: NodeInfo;
  readonly nodes: readonly { readonly nodeId: string; readonly state: string; readonly connected: boolean }[];
  readonly certificates: readonly CertificateStatus[];
  /** True while keys wait for their certificates. */
  readonly provisioningUnderWay: boolean;
  /** Who is told of new certificates, the own servers among them. */
  readonly certificateFollowers: number;
  readonly instancesWithPermissions: number;
  /** On a secondary node: how the stream to the main IAM does. */
  readonly mainIam?: NodeLinkState;
}

export function iamStatus(mode: IamStatus['mode'], parts: ServiceParts, mainIam: NodeLinkState | undefined): IamStatus {
  const { node, certificates, permissions, main } = parts;
  return {
    mode,
    node: node.info,
    nodes: (main?.registry.list() ?? []).map(({ info, connected }) => ({
      nodeId: info.nodeId,
      state: info.state,
      connected,
    })),
    certificates: certificatesOf(certificates),
    provisioningUnderWay: certificates.hasPendingKeys,
    certificateFollowers: certificates.followers,
    instancesWithPermissions: permissions?.size ?? 0,
    ...(mainIam ? { mainIam } : {}),
  };
}

function certificatesOf(certificates: CertificateHandler): CertificateStatus[] {
  const records = certificates.records();
  return records.map((record) => ({
    type: record.type,
    serial: record.serial.toString('hex'),
    notAfter: new Date(record.notAfterMs).toISOString(),
    certUrl: record.certUrl,
    current: currentRecord(records.filter(({ type }) => type === record.type)) === record,
  }));
}
