/** Certificates of units and of nodes that are added later (spec/provisioning.md 10, 11; spec/cloud-protocol.md 8.17 ff.). */
import { randomUUID } from 'node:crypto';
import { AosError, asAosError, type Logger } from '../../core/index.ts';
import type {
  CloudMessage,
  DeprovisioningResponse,
  FinishProvisioningResponse,
  IssueUnitCertificates,
  RenewCertificatesNotification,
  StartProvisioningResponse,
} from '../../protocol/index.ts';
import type { UnitEvents } from '../model/unit-events.ts';
import type { Authority, IssuedCertificate } from '../pki/authority.ts';
import type { CertificateOwner } from '../store/certificates.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';

type Answer = StartProvisioningResponse | FinishProvisioningResponse | DeprovisioningResponse;
type Send = (message: CloudMessage) => unknown;

/** Types that the cloud's wire knows (spec/decisions.md C-31); `iam` is applied last, since servers restart with it. */
const TYPES: readonly string[] = ['online', 'offline', 'cm', 'sm', 'iam'];
const SECRETS_VERSION = '2.0.0';

export interface NodeProvisioningParts {
  readonly authority: Authority;
  readonly database: CloudDatabase;
  readonly events: UnitEvents;
  readonly discoveryUrl: () => string;
  readonly now: () => Date;
  readonly logger: Logger;
}

export class NodeProvisioning {
  readonly #parts: NodeProvisioningParts;

  constructor(parts: NodeProvisioningParts) {
    this.#parts = parts;
  }

  /** Begins to take a node into the unit; the password becomes the security officer's PIN of its tokens. */
  async start(systemId: string, nodeId: string, password: string, send: Send): Promise<void> {
    await this.#parts.database.write(({ units }) => units.setNodePassword(systemId, nodeId, password));
    send({
      messageType: 'startProvisioningRequest',
      correlationId: randomUUID(),
      node: { codename: nodeId },
      password,
    });
  }

  /** Begins to take a node out of the unit. */
  async deprovision(systemId: string, nodeId: string, send: Send): Promise<void> {
    send({
      messageType: 'deprovisioningRequest',
      correlationId: randomUUID(),
      node: { codename: nodeId },
      password: await this.#passwordOf(systemId, nodeId),
    });
  }

  /** Asks the unit to renew certificates: those of the given types, or all. Answers how many. */
  async renew(systemId: string, types: readonly string[] | undefined, send: Send): Promise<number> {
    const { known, passwords } = await this.#parts.database.read(async (stores) => ({
      known: await stores.certificates.ofUnit(systemId),
      passwords: await stores.units.nodePasswords(systemId),
    }));
    const newest = new Map(
      known
        .filter(({ revokedAt, type }) => revokedAt === null && (types === undefined || types.includes(type ?? '')))
        .map((certificate) => [`${certificate.nodeId} ${certificate.type}`, certificate] as const),
    );
    const certificates = [...newest.values()].map(({ nodeId, type, serial, notAfter }) => ({
      type: type ?? '',
      node: { codename: nodeId ?? '' },
      serial,
      validTill: notAfter,
    }));
    if (certificates.length === 0) {
      throw new AosError('notFound', `unit ${systemId} has no certificate of type ${types?.join(', ') ?? 'any'}`);
    }
    const message: RenewCertificatesNotification = {
      messageType: 'renewCertificatesNotification',
      certificates,
      unitSecrets: {
        version: SECRETS_VERSION,
        nodes: Object.entries(passwords).map(([codename, secret]) => ({ node: { codename }, secret })),
      },
    };
    send(message);
    return certificates.length;
  }

  /** Signs requests of a running unit. One that is refused is left out, and told to those who follow the unit. */
  async issue(
    systemId: string,
    requests: IssueUnitCertificates['requests'],
  ): Promise<{ type: string; node: { codename: string }; certificateChain: string }[]> {
    const issued = [];
    for (const { type, node, csr } of requests) {
      try {
        const { chain } = await this.sign({ systemId, nodeId: node.codename, type }, csr);
        issued.push({ type, node: { codename: node.codename }, certificateChain: chain });
      } catch (error) {
        this.#tell(systemId, node.codename, `certificate ${type}`, asAosError(error).message);
      }
    }
    return issued;
  }

  /** Signs one request and lists the certificate. */
  async sign(owner: CertificateOwner, csr: string): Promise<IssuedCertificate> {
    const { authority, database, discoveryUrl, now } = this.#parts;
    if (!TYPES.includes(owner.type)) {
      throw new AosError('notSupported', `certificate type "${owner.type}" is none of ${TYPES.join(', ')}`);
    }
    const issued = await authority.issueForUnit({
      ...{ csr, systemId: owner.systemId, type: owner.type, discoveryUrl: discoveryUrl() },
    });
    await database.write(async ({ certificates, units }) => {
      // Signing took time: a unit that was reset meanwhile has no certificates, and gets none.
      if ((await units.get(owner.systemId)).status !== 'provisioned') {
        throw new AosError('wrongState', `unit ${owner.systemId} is not provisioned any more`);
      }
      await certificates.addForUnit(issued, owner, now());
    });
    return issued;
  }

  /** The next step after a unit's answer. */
  async answered(systemId: string, answer: Answer, send: Send): Promise<void> {
    const { database, now } = this.#parts;
    const nodeId = answer.node.codename;
    const { errorInfo } = answer;
    if (errorInfo) {
      this.#tell(systemId, nodeId, answer.messageType, errorInfo.message || `error ${errorInfo.aosCode}`);
      return;
    }
    switch (answer.messageType) {
      case 'startProvisioningResponse':
        await this.#finish(systemId, nodeId, answer, send);
        break;
      case 'finishProvisioningResponse':
        this.#tell(systemId, nodeId, 'provisioned');
        break;
      case 'deprovisioningResponse':
        await database.write(async ({ certificates, units }) => {
          await certificates.revoke(systemId, nodeId, now());
          await units.setNodePassword(systemId, nodeId, undefined);
        });
        this.#tell(systemId, nodeId, 'unprovisioned');
        break;
    }
  }

  async #finish(systemId: string, nodeId: string, answer: StartProvisioningResponse, send: Send): Promise<void> {
    const { csrs, correlationId } = answer;
    const sorted = csrs.toSorted((a, b) => TYPES.indexOf(a.type) - TYPES.indexOf(b.type));
    const certificates = [];
    try {
      for (const { type, csr } of sorted) {
        const { chain } = await this.sign({ systemId, nodeId, type }, csr);
        certificates.push({ type, chain });
      }
    } catch (error) {
      this.#tell(systemId, nodeId, 'finishProvisioningRequest', asAosError(error).message);
      return;
    }
    send({
      messageType: 'finishProvisioningRequest',
      ...(correlationId !== undefined && { correlationId }),
      node: { codename: nodeId },
      certificates,
      password: await this.#passwordOf(systemId, nodeId),
    });
  }

  async #passwordOf(systemId: string, nodeId: string): Promise<string> {
    return (await this.#parts.database.read(({ units }) => units.nodePasswords(systemId)))[nodeId] ?? '';
  }

  #tell(systemId: string, nodeId: string, step: string, error?: string): void {
    const { events, logger } = this.#parts;
    if (error !== undefined) logger.warn({ systemId, nodeId, step, error }, 'a step with a node failed');
    events.publish(systemId, 'node', { nodeId, step, ...(error !== undefined && { error }) });
  }
}
