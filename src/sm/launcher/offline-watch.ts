/** Which instances must not run while the node is without its cloud, and when that begins (spec/decisions.md 5.5). */
import { type Clock, instanceKey } from '../../core/index.ts';
import type { InstalledItem, InstanceInfo } from '../model.ts';
import { type OfflineInstance, planOffline } from './offline.ts';

export const OFFLINE_REASON = 'offline TTL: the node is without its cloud for too long';

export interface OfflineParts {
  readonly clock: Clock;
  /** Instances that run now. */
  readonly running: () => readonly OfflineInstance<InstanceInfo>[];
  /** These have been without the cloud for too long. */
  readonly onExpired: (instances: readonly InstanceInfo[]) => void;
  /** The cloud is back, and something does not run because it was away. */
  readonly onBack: () => void;
}

export class OfflineWatch {
  readonly #parts: OfflineParts;
  /** On the monotonic clock. */
  #sinceMs: number | undefined;
  /** Keys of instances that do not run because of it. */
  readonly #expired = new Set<string>();
  #timer = new AbortController();

  constructor(parts: OfflineParts) {
    this.#parts = parts;
  }

  get isOffline(): boolean {
    return this.#sinceMs !== undefined;
  }

  /** The node is without its cloud since this moment of the monotonic clock. */
  offline(sinceMs: number): void {
    this.#sinceMs = sinceMs;
    this.check();
  }

  online(): void {
    this.#sinceMs = undefined;
    this.stop();
    if (this.#expired.size > 0) this.#parts.onBack();
  }

  /** Tells what has been without a cloud for too long, and looks again when the next one will have been. */
  check(): void {
    this.stop();
    const sinceMs = this.#sinceMs;
    if (sinceMs === undefined) return;
    const { clock, running, onExpired } = this.#parts;
    const { expired, nextInMs } = planOffline(running(), sinceMs, clock.monotonicMs());
    if (expired.length > 0) onExpired(expired);
    if (nextInMs === undefined) return;
    this.#timer = new AbortController();
    clock.sleep(nextInMs, this.#timer.signal).then(
      () => this.check(),
      // The cloud came back, or there is something new to wait for.
      () => undefined,
    );
  }

  /** These do not run from now on because the cloud is away. */
  hold(instances: readonly InstanceInfo[]): void {
    for (const { ident } of instances) this.#expired.add(instanceKey(ident));
  }

  /** Keys of what was held; from now on nothing is. */
  release(): ReadonlySet<string> {
    const keys = new Set(this.#expired);
    this.#expired.clear();
    return keys;
  }

  /** Why it must not be started now, and then it is held; undefined when it may. */
  whyHeld(info: InstanceInfo, item: InstalledItem): string | undefined {
    const ttlMs = info.ident.type === 'service' ? (item.itemConfig?.offlineTtlMs ?? 0) : 0;
    const sinceMs = this.#sinceMs;
    if (ttlMs === 0 || sinceMs === undefined || this.#parts.clock.monotonicMs() < sinceMs + ttlMs) return undefined;
    this.hold([info]);
    return OFFLINE_REASON;
  }

  /** Looks no more by itself. */
  stop(): void {
    this.#timer.abort();
  }
}
