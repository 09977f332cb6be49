/** Renewal of certificates (spec/cloud-protocol.md 8.17 to 8.20). */
import * as z from 'zod';
import { NodeIdentity } from './identity.ts';
import { message, OptionalErrorInfo } from './message.ts';
import { list, text } from './values.ts';

/** The types that the cloud wire knows; others are answered or skipped, never dropped (spec/decisions.md C-31). */
export const CERTIFICATE_TYPES: readonly string[] = ['offline', 'online', 'sm', 'cm', 'iam'];

const MAX_ENTRIES = 80;
/** Bytes of PEM of a chain of 8 certificates. */
const MAX_CHAIN_BYTES = 96 * 1024;

/** An absent type means `offline` (spec/decisions.md C-32). */
const CertificateType = z.string().default('offline');
export const CertificateChainText = text(MAX_CHAIN_BYTES);
export const SecretText = text(64);

export const ExpiringCertificate = z.object({
  type: CertificateType,
  node: NodeIdentity,
  /** For information only, as is `validTill`. */
  serial: z.string().default(''),
  validTill: z.string().optional(),
});
export type ExpiringCertificate = z.output<typeof ExpiringCertificate>;

const NodeSecret = z.object({ node: NodeIdentity, secret: SecretText });
export type NodeSecret = z.output<typeof NodeSecret>;

/** All four forms are read (spec/decisions.md C-30). */
const UnitSecrets = z.object({
  version: z.string().default(''),
  nodes: z
    .union([z.array(NodeSecret), NodeSecret])
    .default([])
    .transform((nodes): readonly NodeSecret[] => (Array.isArray(nodes) ? nodes : [nodes])),
});

export const RenewCertificatesNotification = message('renewCertificatesNotification', {
  certificates: list(ExpiringCertificate, MAX_ENTRIES).default([]),
  unitSecrets: UnitSecrets,
});
export type RenewCertificatesNotification = z.output<typeof RenewCertificatesNotification>;

export const IssueUnitCertificates = message('issueUnitCertificates', {
  requests: list(z.object({ type: CertificateType, node: NodeIdentity, csr: z.string() })),
});
export type IssueUnitCertificates = z.output<typeof IssueUnitCertificates>;

export const IssuedCertificate = z.object({
  type: CertificateType,
  node: NodeIdentity,
  /** PEM, leaf first, with the root. */
  certificateChain: CertificateChainText,
});
export type IssuedCertificate = z.output<typeof IssuedCertificate>;

export const IssuedUnitCertificates = message('issuedUnitCertificates', {
  certificates: list(IssuedCertificate, MAX_ENTRIES).default([]),
});
export type IssuedUnitCertificates = z.output<typeof IssuedUnitCertificates>;

export const InstallUnitCertificatesConfirmation = message('installUnitCertificatesConfirmation', {
  certificates: list(
    z.object({
      type: CertificateType,
      node: NodeIdentity,
      /** Hex in lower case; empty on failure. */
      serial: z.string().default(''),
      errorInfo: OptionalErrorInfo,
    }),
  ),
});
export type InstallUnitCertificatesConfirmation = z.output<typeof InstallUnitCertificatesConfirmation>;
