/** What the proxy remembers of a service manager's stream, so that a CM that comes back learns it all (spec/decisions.md 3.1). */
import { create, toBinary } from '@bufbuild/protobuf';
import { sm } from '../../api/contracts.ts';
import { readIdentMessage } from '../../api/index.ts';
import { instanceKey } from '../../core/index.ts';
import { MAX_WAITING_REPORT_BYTES, MAX_WAITING_REPORTS } from '../numbers.ts';
import type { PeerIdentity } from './peer-identity.ts';
import type { StreamMemory } from './stream-relay.ts';

export class ServiceManagerMemory implements StreamMemory<sm.SMOutgoingMessages> {
  readonly #identity: PeerIdentity;
  #info: sm.SMOutgoingMessages | undefined;
  #statuses: readonly sm.InstanceStatus[] | undefined;
  /** Alerts and parts of logs, oldest first. */
  #reports: { readonly message: sm.SMOutgoingMessages; readonly sizeBytes: number }[] = [];
  #reportBytes = 0;

  constructor(identity: PeerIdentity) {
    this.#identity = identity;
  }

  note(message: sm.SMOutgoingMessages): void {
    const { case: kind, value } = message.SMOutgoingMessage;
    if (kind === 'smInfo') {
      this.#identity.named(value.nodeId);
      this.#info = message;
    } else if (kind === 'nodeInstancesStatus') {
      this.#statuses = value.instances;
    } else if (kind === 'updateInstancesStatus') {
      this.#statuses = this.#statuses && updateStatuses(this.#statuses, value.instances);
    }
  }

  /** Reports are for whoever comes; answers belong to a stream that is gone, and monitoring is out of date. */
  hold(message: sm.SMOutgoingMessages): void {
    const kind = message.SMOutgoingMessage.case;
    if (kind !== 'alert' && kind !== 'log') return;
    const { length: sizeBytes } = toBinary(sm.SMOutgoingMessagesSchema, message);
    this.#reports.push({ message, sizeBytes });
    this.#reportBytes += sizeBytes;
    while (this.#reports.length > MAX_WAITING_REPORTS || this.#reportBytes > MAX_WAITING_REPORT_BYTES) {
      this.#reportBytes -= this.#reports.shift()!.sizeBytes;
    }
  }

  replay(): sm.SMOutgoingMessages[] {
    const reports = this.#reports.map(({ message }) => message);
    this.#reports = [];
    this.#reportBytes = 0;
    const statuses = this.#statuses && {
      case: 'nodeInstancesStatus' as const,
      value: create(sm.NodeInstancesStatusSchema, { instances: [...this.#statuses] }),
    };
    return [
      ...(this.#info ? [this.#info] : []),
      ...(statuses ? [create(sm.SMOutgoingMessagesSchema, { SMOutgoingMessage: statuses })] : []),
      ...reports,
    ];
  }
}

/** The list after changes; the list says which instances there are, so a change of another one is left out. */
export function updateStatuses(
  list: readonly sm.InstanceStatus[],
  changes: readonly sm.InstanceStatus[],
): sm.InstanceStatus[] {
  const key = ({ instance }: sm.InstanceStatus) => (instance ? instanceKey(readIdentMessage(instance)) : '');
  const changed = new Map(changes.map((status) => [key(status), status]));
  return list.map((status) => changed.get(key(status)) ?? status);
}
