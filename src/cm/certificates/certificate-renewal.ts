/**
 * Renewal of certificates, started by the cloud (spec/provisioning.md 11):
 * notification → keys → requests → issued certificates → installation → confirmation.
 */
import { asAosError, type Logger } from '../../core/index.ts';
import {
  CERTIFICATE_TYPES,
  type IssuedUnitCertificates,
  type IssueUnitCertificates,
  type RefusedEntry,
  type RenewCertificatesNotification,
} from '../../protocol/index.ts';
import type { CloudLinkApi } from '../link/index.ts';
import type { CertificateIam } from './model.ts';
import {
  type ConfirmedCertificate,
  confirmRefused,
  installOrder,
  type KeyOrder,
  notInstalled,
  planRenewal,
  unknownType,
} from './plan-renewal.ts';

export interface CertificateRenewalOptions {
  readonly iam: Pick<CertificateIam, 'createKey' | 'applyCert'>;
  readonly link: Pick<CloudLinkApi, 'send' | 'handle'>;
  readonly mainNodeId: () => string;
  readonly logger: Logger;
}

export class CertificateRenewal {
  readonly #options: CertificateRenewalOptions;
  readonly #abort = new AbortController();

  constructor(options: CertificateRenewalOptions) {
    this.#options = options;
  }

  start(): void {
    const { link } = this.#options;
    link.handle('renewCertificatesNotification', (message, { refused }) => this.#renew(message, refused));
    link.handle('issuedUnitCertificates', (message, { refused }) => this.#install(message, refused));
  }

  /** What is under way is reported as canceled. */
  stop(): void {
    this.#abort.abort();
  }

  async #renew(message: RenewCertificatesNotification, refused: readonly RefusedEntry[]): Promise<void> {
    const { link, logger } = this.#options;
    const plan = planRenewal(message);
    for (const entry of plan.skipped) logger.warn(entry, 'certificates of this type are not renewed');
    const failed = [...confirmRefused(refused), ...plan.failed];
    const requests: IssueUnitCertificates['requests'][number][] = [];
    for (const order of plan.keys) {
      const outcome = await this.#createKey(order);
      if ('csr' in outcome) requests.push(outcome);
      else failed.push(outcome);
    }
    if (requests.length > 0) link.send({ messageType: 'issueUnitCertificates', requests }, { durable: true });
    this.#confirm(failed);
  }

  async #createKey({
    type,
    nodeId,
    secret,
  }: KeyOrder): Promise<IssueUnitCertificates['requests'][number] | ConfirmedCertificate> {
    const { iam, logger } = this.#options;
    try {
      const csr = await iam.createKey(nodeId, type, secret, this.#abort.signal);
      return { type, node: { codename: nodeId }, csr };
    } catch (error) {
      logger.warn({ nodeId, type, error: asAosError(error).message }, 'cannot make a key for a new certificate');
      return notInstalled(type, nodeId, error);
    }
  }

  async #install(message: IssuedUnitCertificates, refused: readonly RefusedEntry[]): Promise<void> {
    const { iam, logger, mainNodeId } = this.#options;
    const { signal } = this.#abort;
    const confirmed = confirmRefused(refused);
    for (const { type, node, certificateChain } of installOrder(message.certificates, mainNodeId())) {
      const nodeId = node.codename;
      try {
        if (!CERTIFICATE_TYPES.includes(type)) throw unknownType(type);
        const serial = await iam.applyCert(nodeId, type, certificateChain, signal);
        logger.info({ nodeId, type, serial }, 'a new certificate is installed');
        confirmed.push({ type, node: { codename: nodeId }, serial: serial.toLowerCase() });
      } catch (error) {
        logger.warn({ nodeId, type, error: asAosError(error).message }, 'cannot install a new certificate');
        confirmed.push(notInstalled(type, nodeId, error));
      }
    }
    this.#confirm(confirmed);
  }

  #confirm(certificates: readonly ConfirmedCertificate[]): void {
    if (certificates.length === 0) return;
    this.#options.link.send({ messageType: 'installUnitCertificatesConfirmation', certificates }, { durable: true });
  }
}
