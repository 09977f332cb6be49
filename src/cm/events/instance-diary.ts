/** Failures of instances as events, so that `aosctl events` tells in the morning what failed in the night. */
import { instanceName } from '../../core/index.ts';
import type { InstanceStatus } from '../model.ts';
import type { EventSink } from './event-log.ts';

/** Instances come and go for years; what is forgotten is told once more. */
export const MAX_TOLD = 4096;

export class InstanceDiary {
  readonly #events: EventSink;
  /** The last failure of each instance, the latest told last. */
  readonly #told = new Map<string, string>();

  constructor(events: EventSink) {
    this.#events = events;
  }

  /** One that fails again and again in the same way is told once: it would drive out everything else. */
  take(changed: readonly InstanceStatus[]): void {
    for (const { ident, version, nodeId, state, error, reason } of changed) {
      // What has no place anywhere is told by whoever decided so.
      if (state !== 'failed' || nodeId === '') continue;
      const id = instanceName(ident);
      const failure = `${version} ${nodeId} ${error?.message}`;
      if (this.#told.get(id) === failure) continue;
      this.#told.delete(id);
      this.#told.set(id, failure);
      const [oldest] = this.#told.keys();
      if (this.#told.size > MAX_TOLD && oldest !== undefined) this.#told.delete(oldest);
      const because = reason || error?.message || 'no reason was given';
      this.#events.record({ about: { kind: 'instance', id }, what: `version ${version} failed on ${nodeId}`, because });
    }
  }
}
