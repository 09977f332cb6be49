/** What the cloud does with each message of a unit (spec/cloud-protocol.md 8, 14). */
import { asAosError, type Logger } from '../../core/index.ts';
import type { BlobInfo, CloudMessage, Identity, RequestBlobUrls, UnitMessage } from '../../protocol/index.ts';
import { blobInfo } from '../blobs/blob-vault.ts';
import type { BlobDeltas } from '../blobs/deltas/blob-deltas.ts';
import { wantedOn } from '../domain/facts.ts';
import type { UnitEvents } from '../model/unit-events.ts';
import { hasMovedNodes, mergeUnitStatus } from '../model/unit-picture.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import { type InstanceName, stateChecksum } from '../store/instance-states.ts';
import type { BlobRow } from '../store/items.ts';
import type { Stores } from '../store/stores.ts';
import type { NodeProvisioning } from './node-provisioning.ts';
import type { MessageHandler } from './unit-session.ts';

export interface HandlerParts {
  readonly systemId: string;
  readonly database: CloudDatabase;
  readonly events: UnitEvents;
  readonly nodes: NodeProvisioning;
  readonly blobsUrl: () => string;
  /** Absent: units get whole blobs only. */
  readonly deltas?: Pick<BlobDeltas, 'describe'> | undefined;
  /** Sends to the unit of this link. */
  readonly send: (message: CloudMessage) => void;
  /** Told when the unit has drawn its picture anew. */
  readonly onFullStatus: () => void;
  /** Told when a status says that a node is in another state than before. */
  readonly onNodesMoved: () => Promise<void>;
  readonly logger: Logger;
  readonly now: () => Date;
}

const nameOf = ({ id, codename }: Identity): string => id ?? codename ?? '';

function instanceOf(message: {
  readonly item: Identity;
  readonly subject: Identity;
  readonly instance: number;
}): InstanceName {
  return { itemId: nameOf(message.item), subjectId: nameOf(message.subject), instance: message.instance };
}

function members({ itemId, subjectId, instance }: InstanceName) {
  return { item: { id: itemId }, subject: { id: subjectId }, instance };
}

export class UnitMessageHandler implements MessageHandler {
  readonly #parts: HandlerParts;
  /** What the status that was stored last says; it is reacted to next. */
  #nodesMoved = false;

  constructor(parts: HandlerParts) {
    this.#parts = parts;
  }

  async store(message: UnitMessage, stores: Stores): Promise<void> {
    const { systemId, now } = this.#parts;
    await stores.units.setSeen(systemId, now());
    switch (message.messageType) {
      case 'unitStatus': {
        const before = await stores.units.picture(systemId);
        const after = mergeUnitStatus(before, message);
        this.#nodesMoved = hasMovedNodes(before, after);
        await stores.units.setPicture(systemId, after);
        break;
      }
      case 'newState':
        if (isIntact(message)) await stores.states.put(systemId, instanceOf(message), message.state, now());
        break;
      case 'monitoringData':
        await stores.samples.add(systemId, message, now());
        break;
      case 'alerts':
        await stores.alerts.add(systemId, message.items);
        break;
      case 'pushLog':
        await stores.logs.add(systemId, message, now());
        break;
      case 'installUnitCertificatesConfirmation':
        for (const { serial } of message.certificates) {
          if (serial !== '') await stores.certificates.setInstalled(systemId, serial, now());
        }
        break;
    }
  }

  async react(message: UnitMessage): Promise<void> {
    const { database, events, nodes, onFullStatus, onNodesMoved, send, systemId } = this.#parts;
    switch (message.messageType) {
      case 'unitStatus':
        events.publish(systemId, 'status', { isDeltaInfo: message.isDeltaInfo });
        if (!message.isDeltaInfo) onFullStatus();
        if (this.#nodesMoved) await onNodesMoved();
        break;
      case 'requestBlobUrls':
        await this.#tellWhere(message);
        break;
      case 'newState':
        this.#judgeState(message);
        break;
      case 'stateRequest': {
        const instance = instanceOf(message);
        const state = message.default ? '' : await database.read(({ states }) => states.get(systemId, instance));
        send({ messageType: 'updateState', ...members(instance), stateChecksum: stateChecksum(state), state });
        break;
      }
      case 'issueUnitCertificates':
        send({
          messageType: 'issuedUnitCertificates',
          certificates: await nodes.issue(systemId, message.requests),
        });
        break;
      case 'installUnitCertificatesConfirmation':
        events.publish(systemId, 'certificates', { certificates: message.certificates });
        break;
      case 'startProvisioningResponse':
      case 'finishProvisioningResponse':
      case 'deprovisioningResponse':
        await nodes.answered(systemId, message, send);
        break;
      case 'alerts':
        events.publish(systemId, 'alerts', { items: message.items });
        break;
      case 'monitoringData':
        events.publish(systemId, 'monitoring', { nodes: message.nodes.length });
        break;
      case 'pushLog': {
        const { correlationId, node, part, partsCount, status } = message;
        events.publish(systemId, 'log', { correlationId, nodeId: node.codename, part, partsCount, status });
        break;
      }
      case 'overrideEnvVarsStatus':
        events.publish(systemId, 'envVars', { statuses: message.statuses });
        break;
      case 'ack':
        break;
    }
  }

  /** Those of the blobs that belong to an item of the unit; for others it learns that there is none. */
  async #tellWhere({ correlationId, digests, bases: baseDigests = [] }: RequestBlobUrls): Promise<void> {
    const { database, send, systemId, blobsUrl, deltas, logger } = this.#parts;
    const { blobs, bases } = await database.read(async (stores) => {
      const itemIds = new Set((await wantedOn(stores, systemId)).map(({ itemId }) => itemId));
      const find = async (wanted: readonly string[]) => {
        const found: BlobRow[] = [];
        for (const digest of wanted) {
          const blob = await stores.items.blobOfItems(itemIds, digest);
          if (blob) found.push(blob);
        }
        return found;
      };
      return { blobs: await find(digests), bases: await find(baseDigests) };
    });
    const answer = (items: readonly BlobInfo[]) => send({ messageType: 'blobUrls', correlationId, items });
    if (!deltas || bases.length === 0) {
      answer(blobs.map((blob) => blobInfo(blob, blobsUrl())));
      return;
    }
    // It may take seconds; other messages of the unit do not wait for it.
    Promise.all(blobs.map((blob) => deltas.describe(blob, bases, blobsUrl())))
      .then(answer)
      .catch((error) => logger.error({ error: asAosError(error).message }, 'a unit was not told where its blobs are'));
  }

  #judgeState(message: Extract<UnitMessage, { messageType: 'newState' }>): void {
    const { events, send, systemId } = this.#parts;
    const instance = instanceOf(message);
    const accepted = isIntact(message);
    send({
      messageType: 'stateAcceptance',
      ...members(instance),
      checksum: message.stateChecksum,
      result: accepted ? 'accepted' : 'rejected',
      reason: accepted ? '' : 'the checksum is not that of the state',
    });
    events.publish(systemId, 'state', { ...instance, checksum: message.stateChecksum, accepted });
  }
}

function isIntact({ state, stateChecksum: claimed }: { readonly state: string; readonly stateChecksum: string }) {
  return stateChecksum(state) === claimed.toLowerCase();
}
