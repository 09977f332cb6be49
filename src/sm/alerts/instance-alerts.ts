/** Alerts of instances that ended by themselves (spec/decisions.md C-76, 5.3). */
import { identMessage, timestampMessage } from '../../api/index.ts';
import { type Clock, type InstanceIdent, instanceKey, shortenMessage } from '../../core/index.ts';
import type { OutgoingMessage } from '../client/index.ts';

/** At most one alert of a mere crash in this time, per instance. */
const CRASH_PAUSE_MS = 60_000;
/** Longest text of an alert that twins take. */
const MAX_TEXT_BYTES = 255;

/** An unasked exit, as the runtime tells it. */
export interface InstanceExit {
  readonly ident: InstanceIdent;
  readonly because: string;
  readonly crash?: { readonly outOfMemory: boolean; readonly gaveUp: boolean } | undefined;
}

export interface InstanceAlertsOptions {
  readonly clock: Clock;
  readonly versionOf: (ident: InstanceIdent) => string;
  readonly send: (message: OutgoingMessage) => void;
}

export class InstanceAlerts {
  readonly #options: InstanceAlertsOptions;
  /** When the last crash of an instance was told, on the monotonic clock. */
  readonly #toldAtMs = new Map<string, number>();

  constructor(options: InstanceAlertsOptions) {
    this.#options = options;
  }

  /** Give-up and out of memory are always told, a crash once a minute. */
  take({ ident, because, crash }: InstanceExit): void {
    if (!crash) return;
    const { clock, versionOf, send } = this.#options;
    const key = instanceKey(ident);
    const nowMs = clock.monotonicMs();
    const isRecent = nowMs - (this.#toldAtMs.get(key) ?? Number.NEGATIVE_INFINITY) < CRASH_PAUSE_MS;
    if (isRecent && !crash.gaveUp && !crash.outOfMemory) return;
    this.#toldAtMs.set(key, nowMs);
    send({
      case: 'alert',
      value: {
        timestamp: timestampMessage(clock.now()),
        AlertItem: {
          case: 'instanceAlert',
          value: {
            instance: identMessage(ident),
            serviceVersion: versionOf(ident),
            message: shortenMessage(because, MAX_TEXT_BYTES),
          },
        },
      },
    });
  }

  /** The instance is gone for good. */
  forget(ident: InstanceIdent): void {
    this.#toldAtMs.delete(instanceKey(ident));
  }
}
