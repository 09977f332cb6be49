/** How all instances do, and who wants to know of changes (spec/cm.md 4.14). */
import { isDeepStrictEqual } from 'node:util';
import { ERROR_CODES, type ErrorInfo, type InstanceState, instanceKey, type Logger } from '../../core/index.ts';
import type { InstanceStatus } from '../model.ts';
import { Event, type NodeStatuses, type ReportedInstance } from '../nodes/index.ts';
import { type InstanceRow, rowKey } from './instance-row.ts';
import type { Shortage } from './model.ts';

export class StatusBoard {
  /** In scheduling order. */
  #statuses = new Map<string, InstanceStatus>();
  /** By node, then ident. */
  readonly #preinstalled = new Map<string, Map<string, InstanceStatus>>();
  readonly #changed: Event<readonly InstanceStatus[]>;
  #pending: InstanceStatus[] = [];

  constructor(logger: Logger) {
    this.#changed = new Event('instance statuses', logger);
  }

  get subscribe() {
    return this.#changed.subscribe;
  }

  all(): InstanceStatus[] {
    return [...this.#statuses.values(), ...[...this.#preinstalled.values()].flatMap((node) => [...node.values()])];
  }

  get(row: { readonly ident: InstanceRow['ident']; readonly version: string }): InstanceStatus | undefined {
    return this.#statuses.get(rowKey(row));
  }

  /** Makes the list exactly this, in this order; what vanishes is not told. */
  replace(statuses: readonly InstanceStatus[]): void {
    const before = this.#statuses;
    this.#statuses = new Map();
    for (const status of statuses) {
      const key = rowKey(status);
      const known = before.get(key);
      if (known) this.#statuses.set(key, known);
      this.#put(key, status);
    }
  }

  /** Takes over what an SM says, word for word; a word about an instance that has its place elsewhere does not count. */
  report({ nodeId, isFull, instances }: NodeStatuses): void {
    const preinstalled = isFull ? new Map<string, InstanceStatus>() : (this.#preinstalled.get(nodeId) ?? new Map());
    for (const instance of instances) {
      if (instance.ident.preinstalled) this.#putPreinstalled(preinstalled, nodeId, instance);
      else this.#update(nodeId, instance);
    }
    this.#preinstalled.set(nodeId, preinstalled);
  }

  /** The node has left the unit, and with it what it had brought along; what vanishes is not told. */
  nodeLeft(nodeId: string): void {
    this.#preinstalled.delete(nodeId);
  }

  /** Services of a node that are still on their way when they should have arrived. */
  failActivating(nodeId: string, code: 'timeout' | 'failed'): void {
    const error: ErrorInfo = { aosCode: ERROR_CODES[code], exitCode: 0, message: '' };
    for (const [key, status] of this.#statuses) {
      if (status.nodeId !== nodeId || status.state !== 'activating' || status.ident.type !== 'service') continue;
      this.#put(key, { ...status, state: 'failed', error });
    }
  }

  /** Changes one instance's checksum of its state. */
  setStateChecksum(ident: InstanceRow['ident'], stateChecksum: string): void {
    const wanted = instanceKey(ident);
    for (const [key, status] of this.#statuses) {
      if (instanceKey(status.ident) === wanted) this.#put(key, { ...status, stateChecksum });
    }
  }

  /** Tells listeners what changed since the last time. */
  publish(): void {
    if (this.#pending.length === 0) return;
    const latest = new Map(this.#pending.map((status) => [`${status.nodeId}${rowKey(status)}`, status]));
    this.#pending = [];
    this.#changed.emit([...latest.values()]);
  }

  #update(nodeId: string, instance: ReportedInstance): void {
    const key = rowKey(instance);
    const known = this.#statuses.get(key);
    if (!known || known.nodeId !== nodeId) return;
    const { runtimeId, manifestDigest, state, error, reason, envVars } = instance;
    const { error: _, reason: __, ...rest } = known;
    const failure = { ...(error && { error }), ...(error && reason && { reason }) };
    this.#put(key, { ...rest, runtimeId, manifestDigest, state, ...failure, envVars });
  }

  #putPreinstalled(statuses: Map<string, InstanceStatus>, nodeId: string, instance: ReportedInstance): void {
    const { error, ...rest } = instance;
    const status: InstanceStatus = { ...rest, nodeId, ...(error ? { error } : {}) };
    const key = instanceKey(instance.ident);
    const known = this.#preinstalled.get(nodeId)?.get(key);
    statuses.set(key, status);
    if (!isDeepStrictEqual(known, status)) this.#pending.push(status);
  }

  #put(key: string, status: InstanceStatus): void {
    const known = this.#statuses.get(key);
    this.#statuses.set(key, status);
    if (!isDeepStrictEqual(known, status)) this.#pending.push(status);
  }
}

export interface Scheduled {
  readonly row: InstanceRow;
  readonly error?: ErrorInfo | undefined;
  /** Why it has no place, when a resource is the reason. */
  readonly shortage?: Shortage | undefined;
}

/**
 * The status of an instance right after it was scheduled: what runs already in the same place goes on being what it
 * is, everything else is on its way, or failed with the reason.
 */
export function scheduledStatus(
  { row, error }: Scheduled,
  known: InstanceStatus | undefined,
  stateChecksum: string | undefined,
): InstanceStatus {
  const { ident, version, nodeId, runtimeId, manifestDigest, because } = row;
  const base = {
    ident,
    version,
    nodeId,
    runtimeId,
    manifestDigest,
    ...(because ? { because } : {}),
    ...(stateChecksum ? { stateChecksum } : {}),
  };
  if (error) return { ...base, state: 'failed', error };
  const isSame = known?.nodeId === nodeId && known.runtimeId === runtimeId && known.manifestDigest === manifestDigest;
  const state: InstanceState = isSame && known.state === 'active' ? 'active' : 'activating';
  return { ...base, state, ...(isSame && known.envVars ? { envVars: known.envVars } : {}) };
}
