/** Provisioning and deprovisioning of further nodes, driven by the cloud (spec/provisioning.md 10). */
import { AosError, asAosError, type Logger, toErrorInfo } from '../../core/index.ts';
import {
  CERTIFICATE_TYPES,
  type DeprovisioningRequest,
  type FinishProvisioningRequest,
  type RefusedEntry,
  type StartProvisioningRequest,
  type StartProvisioningResponse,
} from '../../protocol/index.ts';
import type { CloudLinkApi } from '../link/index.ts';
import type { CertificateIam } from './model.ts';
import { unknownType } from './plan-renewal.ts';

export interface NodeProvisioningOptions {
  readonly iam: CertificateIam;
  readonly link: Pick<CloudLinkApi, 'send' | 'handle'>;
  readonly mainNodeId: () => string;
  readonly logger: Logger;
}

/** Answers are kept until the cloud has them. */
const DURABLE = { durable: true } as const;

export class NodeProvisioning {
  readonly #options: NodeProvisioningOptions;
  readonly #abort = new AbortController();

  constructor(options: NodeProvisioningOptions) {
    this.#options = options;
  }

  start(): void {
    const { link } = this.#options;
    link.handle('startProvisioningRequest', (message) => this.#start(message));
    link.handle('finishProvisioningRequest', (message, { refused }) => this.#finish(message, refused));
    link.handle('deprovisioningRequest', (message) => this.#deprovision(message));
  }

  stop(): void {
    this.#abort.abort();
  }

  /** The first failure ends it; requests made before it stay in the answer, the failing one is empty. */
  async #start({ correlationId, node, password }: StartProvisioningRequest): Promise<void> {
    const { iam, link } = this.#options;
    const { signal } = this.#abort;
    const nodeId = node.codename;
    const csrs: StartProvisioningResponse['csrs'][number][] = [];
    const error = await this.#attempt(nodeId, 'start provisioning', async () => {
      await iam.startProvisioning(nodeId, password, signal);
      const types = await iam.certTypes(nodeId, signal);
      for (const type of types.filter((name) => CERTIFICATE_TYPES.includes(name))) {
        const entry = { type, csr: '' };
        csrs.push(entry);
        entry.csr = await iam.createKey(nodeId, type, password, signal);
      }
    });
    link.send({ messageType: 'startProvisioningResponse', correlationId, node, ...error, csrs }, DURABLE);
  }

  async #finish(
    { correlationId, node, certificates, password }: FinishProvisioningRequest,
    refused: readonly RefusedEntry[],
  ): Promise<void> {
    const { iam, link } = this.#options;
    const { signal } = this.#abort;
    const nodeId = node.codename;
    const error = await this.#attempt(nodeId, 'finish provisioning', async () => {
      if (refused[0]) throw refused[0].error;
      for (const { type, chain } of certificates) {
        if (!CERTIFICATE_TYPES.includes(type)) throw unknownType(type);
        await iam.applyCert(nodeId, type, chain, signal);
      }
      await iam.finishProvisioning(nodeId, password, signal);
    });
    link.send({ messageType: 'finishProvisioningResponse', correlationId, node, ...error }, DURABLE);
  }

  async #deprovision({ correlationId, node, password }: DeprovisioningRequest): Promise<void> {
    const { iam, link, mainNodeId } = this.#options;
    const nodeId = node.codename;
    const error = await this.#attempt(nodeId, 'deprovision', async () => {
      // The unit would lose its cloud (spec/decisions.md C-82); local tools can still do it.
      if (nodeId === mainNodeId()) throw new AosError('wrongState', 'the main node cannot be deprovisioned remotely');
      await iam.deprovision(nodeId, password, this.#abort.signal);
    });
    link.send({ messageType: 'deprovisioningResponse', correlationId, node, ...error }, DURABLE);
  }

  /** The member of the answer that tells of a failure. */
  async #attempt(
    nodeId: string,
    what: string,
    work: () => Promise<void>,
  ): Promise<{ readonly errorInfo?: ReturnType<typeof toErrorInfo> }> {
    const { logger } = this.#options;
    try {
      await work();
      logger.info({ nodeId }, `${what}: done`);
      return {};
    } catch (error) {
      logger.warn({ nodeId, error: asAosError(error).message }, `${what}: failed`);
      return { errorInfo: toErrorInfo(error) };
    }
  }
}
