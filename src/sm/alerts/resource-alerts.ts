/** Resources that an instance asks for and that this node cannot give it (spec/cloud-protocol.md 8.8). */
import { identMessage, timestampMessage } from '../../api/index.ts';
import { type AosError, type Clock, type InstanceIdent, instanceKey, shortenMessage } from '../../core/index.ts';
import type { OutgoingMessage } from '../client/index.ts';
import { refusedResource } from '../resources/index.ts';

/** The same of one instance is told again after this time, however often it is tried meanwhile. */
const PAUSE_MS = 60_000;
/** Longest text of an alert that twins take. */
const MAX_TEXT_BYTES = 255;

export interface ResourceAlertsOptions {
  readonly clock: Clock;
  readonly send: (message: OutgoingMessage) => void;
}

interface Told {
  readonly message: string;
  readonly atMs: number;
}

export class ResourceAlerts {
  readonly #options: ResourceAlertsOptions;
  /** What was told last of an instance, on the monotonic clock. */
  readonly #told = new Map<string, Told>();

  constructor(options: ResourceAlertsOptions) {
    this.#options = options;
  }

  /** Takes why an instance could not be started; only a resource that was refused is an alert. */
  take(ident: InstanceIdent, error: AosError): void {
    const resource = refusedResource(error);
    if (resource === undefined) return;
    const { clock, send } = this.#options;
    const key = instanceKey(ident);
    const nowMs = clock.monotonicMs();
    const message = shortenMessage(error.message, MAX_TEXT_BYTES);
    const told = this.#told.get(key);
    if (told?.message === message && nowMs - told.atMs < PAUSE_MS) return;
    this.#told.set(key, { message, atMs: nowMs });
    send({
      case: 'alert',
      value: {
        timestamp: timestampMessage(clock.now()),
        AlertItem: { case: 'resourceAllocateAlert', value: { instance: identMessage(ident), resource, message } },
      },
    });
  }

  /** The instance is gone for good. */
  forget(ident: InstanceIdent): void {
    this.#told.delete(instanceKey(ident));
  }
}
