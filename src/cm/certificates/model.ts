/** What certificates and provisioning need of IAM (spec/iam.md 13.8, 13.9). Every call throws what IAM reports. */
export interface CertificateIam {
  /** Types of certificates that the node has, self-signed ones left out. */
  certTypes(nodeId: string, signal: AbortSignal): Promise<readonly string[]>;
  /** Makes a key, protected by the password of the node, and answers the request for its certificate (PEM). */
  createKey(nodeId: string, type: string, password: string, signal: AbortSignal): Promise<string>;
  /** Installs a chain (PEM) and answers the serial number of its leaf in hex. */
  applyCert(nodeId: string, type: string, chain: string, signal: AbortSignal): Promise<string>;
  startProvisioning(nodeId: string, password: string, signal: AbortSignal): Promise<void>;
  finishProvisioning(nodeId: string, password: string, signal: AbortSignal): Promise<void>;
  deprovision(nodeId: string, password: string, signal: AbortSignal): Promise<void>;
}
