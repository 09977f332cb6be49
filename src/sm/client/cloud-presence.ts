/**
 * Whether the node has its cloud, as the CM says, and since when not (spec/sm.md 2.4, spec/decisions.md 5.5).
 * Without the CM for a minute the node counts as offline: it may be cut off from its main node.
 */
import { asAosError, type Clock, type Logger, PLAUSIBLE_DATE_MS } from '../../core/index.ts';
import { ASSUMED_OFFLINE_MS, CM_LOSS_IS_OFFLINE_MS } from '../numbers.ts';

export interface CloudPresenceOptions {
  readonly clock: Clock;
  /** When the cloud went away, in milliseconds of the wall clock; outlives the SM. */
  readonly stored: { get(): number | undefined; set(atMs: number | undefined): void };
  /** Since a moment of the monotonic clock. */
  readonly onOffline: (sinceMs: number) => void;
  readonly onOnline: () => void;
  readonly logger: Logger;
}

export type Presence = 'unknown' | 'online' | 'offline';

export class CloudPresence {
  readonly #options: CloudPresenceOptions;
  #state: Presence = 'unknown';
  #timer = new AbortController();
  /** The CM is away, and the time runs after which the node counts as offline. */
  #isLost = false;

  constructor(options: CloudPresenceOptions) {
    this.#options = options;
  }

  get state(): Presence {
    return this.#state;
  }

  /** The node is taken to be offline since now unless the CM says otherwise soon. */
  start(): void {
    const startedMs = this.#options.clock.monotonicMs();
    this.#after(ASSUMED_OFFLINE_MS, () => this.#goOffline(startedMs));
  }

  stop(): void {
    this.#timer.abort();
  }

  /** What the CM says of the cloud. */
  setCloud(connected: boolean): void {
    this.#timer.abort();
    this.#isLost = false;
    if (!connected) {
      this.#goOffline(this.#options.clock.monotonicMs());
      return;
    }
    if (this.#state === 'online') return;
    this.#state = 'online';
    this.#store(undefined);
    this.#options.onOnline();
  }

  /**
   * The stream to the CM ended, or could not be opened again; a CM that comes back says at once how the cloud is. The
   * time runs from the first of these on.
   */
  lostCm(): void {
    if (this.#state !== 'online' || this.#isLost) return;
    this.#isLost = true;
    this.#after(CM_LOSS_IS_OFFLINE_MS, () => this.#goOffline(this.#options.clock.monotonicMs()));
  }

  #goOffline(sinceMs: number): void {
    if (this.#state === 'offline') return;
    const { clock, stored, onOffline } = this.#options;
    const nowMs = clock.now().getTime();
    // What is stored while this process had the cloud could only not be removed.
    const before = this.#state === 'unknown' ? stored.get() : undefined;
    this.#state = 'offline';
    if (before !== undefined && before > PLAUSIBLE_DATE_MS && nowMs >= before) {
      // The SM was started again while the cloud was away: the count goes on.
      onOffline(Math.min(sinceMs, clock.monotonicMs() - (nowMs - before)));
      return;
    }
    this.#store(nowMs - (clock.monotonicMs() - sinceMs));
    onOffline(sinceMs);
  }

  /** A disk that is full costs what a restart would have known, and nothing else. */
  #store(atMs: number | undefined): void {
    try {
      this.#options.stored.set(atMs);
    } catch (error) {
      const { message } = asAosError(error);
      this.#options.logger.warn({}, `a restart will not know since when the node is without its cloud: ${message}`);
    }
  }

  #after(delayMs: number, then: () => void): void {
    this.#timer.abort();
    this.#timer = new AbortController();
    this.#options.clock.sleep(delayMs, this.#timer.signal).then(then, () => undefined);
  }
}
