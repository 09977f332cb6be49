/** Certificates of the unit and provisioning of its nodes, in the words of the cloud. */
export { CertificateRenewal, type CertificateRenewalOptions } from './certificate-renewal.ts';
export type { CertificateIam } from './model.ts';
export { NodeProvisioning, type NodeProvisioningOptions } from './node-provisioning.ts';
