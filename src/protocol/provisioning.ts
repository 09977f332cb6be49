/** Provisioning of further nodes (spec/cloud-protocol.md 8.21 to 8.26). */
import * as z from 'zod';
import { CertificateChainText, SecretText } from './certificates.ts';
import { NodeIdentity } from './identity.ts';
import { message, OptionalErrorInfo } from './message.ts';
import { list } from './values.ts';

const MAX_CERTIFICATES = 16;

/** Owner password of the key storage. */
const Password = SecretText.default('');

export const StartProvisioningRequest = message('startProvisioningRequest', {
  node: NodeIdentity,
  password: Password,
});
export type StartProvisioningRequest = z.output<typeof StartProvisioningRequest>;

export const StartProvisioningResponse = message('startProvisioningResponse', {
  node: NodeIdentity,
  errorInfo: OptionalErrorInfo,
  csrs: list(z.object({ type: z.string(), csr: z.string() })).default([]),
});
export type StartProvisioningResponse = z.output<typeof StartProvisioningResponse>;

export const ProvisioningCertificate = z.object({ type: z.string(), chain: CertificateChainText });
export type ProvisioningCertificate = z.output<typeof ProvisioningCertificate>;

/** The certificates are applied in the given order. */
export const FinishProvisioningRequest = message('finishProvisioningRequest', {
  node: NodeIdentity,
  certificates: list(ProvisioningCertificate, MAX_CERTIFICATES),
  password: Password,
});
export type FinishProvisioningRequest = z.output<typeof FinishProvisioningRequest>;

export const FinishProvisioningResponse = message('finishProvisioningResponse', {
  node: NodeIdentity,
  errorInfo: OptionalErrorInfo,
});
export type FinishProvisioningResponse = z.output<typeof FinishProvisioningResponse>;

export const DeprovisioningRequest = message('deprovisioningRequest', { node: NodeIdentity, password: Password });
export type DeprovisioningRequest = z.output<typeof DeprovisioningRequest>;

export const DeprovisioningResponse = message('deprovisioningResponse', {
  node: NodeIdentity,
  errorInfo: OptionalErrorInfo,
});
export type DeprovisioningResponse = z.output<typeof DeprovisioningResponse>;
