/** The main IAM of a unit that is to be provisioned: plain gRPC, no authentication (spec/provisioning.md 2, 14.1). */
import { Code, ConnectError } from '@connectrpc/connect';
import { iam, iamVersion } from '../../api/contracts.ts';
import { asCallError, Channel, readErrorMessage } from '../../api/index.ts';
import { AosError } from '../../core/index.ts';
import { UNREACHABLE } from '../exit-codes.ts';

/** Key and certificate calls may be relayed to a node (spec/decisions.md 8.2). */
const KEY_DEADLINE_MS = 4 * 60_000;
/** Start and finish run hooks, disk encryption among them. */
const PROVISIONING_DEADLINE_MS = 10 * 60_000;
const DEADLINE_MS = 10_000;

export interface CreatedKey {
  readonly nodeId: string;
  readonly type: string;
  readonly csr: string;
}

/** What the flow needs of a unit. */
export interface ProvisioningTarget {
  readonly address: string;
  apiVersion(): Promise<number>;
  systemInfo(): Promise<iam.SystemInfo>;
  nodeIds(): Promise<string[]>;
  nodeInfo(nodeId: string): Promise<iam.NodeInfo>;
  /** Answers false when the connection was lost meanwhile: the service may restart, which is no failure. */
  startProvisioning(nodeId: string, password: string): Promise<boolean>;
  certTypes(nodeId: string): Promise<string[]>;
  createKey(nodeId: string, type: string, password: string): Promise<CreatedKey>;
  applyCert(nodeId: string, type: string, chain: string): Promise<void>;
  /** As `startProvisioning`. */
  finishProvisioning(nodeId: string, password: string): Promise<boolean>;
}

/** True when no TCP connection came about, or it ended under the call. */
function isConnectionLoss(error: unknown): boolean {
  const { code } = ConnectError.from(error);
  // No call is canceled from here: a canceled one was cut off, as by a server that speaks TLS.
  return code === Code.Unavailable || code === Code.Aborted || code === Code.Canceled;
}

export class IamTarget implements ProvisioningTarget {
  readonly address: string;
  readonly #channel: Channel;

  constructor(address: string) {
    this.address = address;
    this.#channel = new Channel({ address });
  }

  close(): void {
    this.#channel.close();
  }

  async apiVersion(): Promise<number> {
    const client = this.#channel.client(iamVersion.IAMVersionService);
    const { version } = await this.#call('ask for the API version', () =>
      client.getAPIVersion({}, { timeoutMs: DEADLINE_MS }),
    );
    return Number(version);
  }

  systemInfo(): Promise<iam.SystemInfo> {
    const client = this.#channel.client(iam.IAMPublicIdentityService);
    return this.#call('ask for the identity', () => client.getSystemInfo({}, { timeoutMs: DEADLINE_MS }));
  }

  async nodeIds(): Promise<string[]> {
    const client = this.#channel.client(iam.IAMPublicNodesService);
    return (await this.#call('ask for the nodes', () => client.getAllNodeIDs({}, { timeoutMs: DEADLINE_MS }))).ids;
  }

  nodeInfo(nodeId: string): Promise<iam.NodeInfo> {
    const client = this.#channel.client(iam.IAMPublicNodesService);
    return this.#call(`ask for node ${nodeId}`, () => client.getNodeInfo({ nodeId }, { timeoutMs: DEADLINE_MS }));
  }

  startProvisioning(nodeId: string, password: string): Promise<boolean> {
    const client = this.#channel.client(iam.IAMProvisioningService);
    return this.#tolerateLoss(`start provisioning of node ${nodeId}`, () =>
      client.startProvisioning({ nodeId, password }, { timeoutMs: PROVISIONING_DEADLINE_MS }),
    );
  }

  async certTypes(nodeId: string): Promise<string[]> {
    const client = this.#channel.client(iam.IAMProvisioningService);
    const answer = await this.#call(`ask for the certificate types of node ${nodeId}`, () =>
      client.getCertTypes({ nodeId }, { timeoutMs: KEY_DEADLINE_MS }),
    );
    return answer.types;
  }

  async createKey(nodeId: string, type: string, password: string): Promise<CreatedKey> {
    const client = this.#channel.client(iam.IAMCertificateService);
    const doing = `create the key "${type}" of node ${nodeId}`;
    const answer = await this.#call(doing, () =>
      client.createKey({ nodeId, type, password }, { timeoutMs: KEY_DEADLINE_MS }),
    );
    this.#refuse(doing, answer.error);
    // The reference tool takes both from the answer; units that leave them out mean what was asked for.
    return { nodeId: answer.nodeId || nodeId, type: answer.type || type, csr: answer.csr };
  }

  async applyCert(nodeId: string, type: string, cert: string): Promise<void> {
    const client = this.#channel.client(iam.IAMCertificateService);
    const doing = `apply the certificate "${type}" of node ${nodeId}`;
    const answer = await this.#call(doing, () =>
      client.applyCert({ nodeId, type, cert }, { timeoutMs: KEY_DEADLINE_MS }),
    );
    this.#refuse(doing, answer.error);
  }

  finishProvisioning(nodeId: string, password: string): Promise<boolean> {
    const client = this.#channel.client(iam.IAMProvisioningService);
    return this.#tolerateLoss(`finish provisioning of node ${nodeId}`, () =>
      client.finishProvisioning({ nodeId, password }, { timeoutMs: PROVISIONING_DEADLINE_MS }),
    );
  }

  async #tolerateLoss(
    doing: string,
    call: () => Promise<{ error?: Parameters<typeof readErrorMessage>[0] }>,
  ): Promise<boolean> {
    try {
      this.#refuse(doing, (await call()).error);
      return true;
    } catch (error) {
      if (!(error instanceof ConnectError)) throw error;
      if (isConnectionLoss(error)) return false;
      throw this.#failed(doing, error);
    }
  }

  async #call<T>(doing: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      throw this.#failed(doing, error);
    }
  }

  #refuse(doing: string, error: Parameters<typeof readErrorMessage>[0]): void {
    const failure = readErrorMessage(error);
    if (failure)
      throw new AosError(failure.code, `cannot ${doing}: the unit says: ${failure.message}`, { cause: failure });
  }

  #failed(doing: string, error: unknown): AosError {
    const failure = asCallError(error, `cannot ${doing} at ${this.address}`);
    if (!isConnectionLoss(error)) return failure;
    const hint = 'is the unit blank, its IAM in provisioning mode, and the address right?';
    return new AosError('failed', `${failure.message}; ${hint}`, { cause: error, fields: UNREACHABLE });
  }
}
