/** How long the link waits before its next attempt (spec/decisions.md C-09, C-11). Pure but for chance. */
import { Backoff } from '../../core/index.ts';
import { RepeatLater } from './endpoints.ts';
import type { LinkNumbers } from './model.ts';

export type ReconnectNumbers = Pick<
  LinkNumbers,
  'reconnectFirstMs' | 'reconnectMaxMs' | 'reconnectJitter' | 'stableSessionMs' | 'afterLossMaxMs'
>;

export class Reconnect {
  readonly #numbers: ReconnectNumbers;
  readonly #random: () => number;
  readonly #backoff: Backoff;
  /** What the cloud wants the delays to begin with, as far as it was heeded. */
  #firstMs = 0;

  constructor(numbers: ReconnectNumbers, random: () => number = Math.random) {
    this.#numbers = numbers;
    this.#random = random;
    this.#backoff = new Backoff({
      firstMs: numbers.reconnectFirstMs,
      maxMs: numbers.reconnectMaxMs,
      jitter: numbers.reconnectJitter,
      random,
    });
  }

  /**
   * The delay after a failed attempt; a cloud that names a longer one is obeyed up to the largest. `firstMs`: what it
   * wants the delays to begin with; 0: nothing.
   */
  afterFailure(error: unknown, firstMs = 0): number {
    const delayMs = this.#next(firstMs);
    return error instanceof RepeatLater
      ? Math.min(Math.max(delayMs, error.delayMs), this.#numbers.reconnectMaxMs)
      : delayMs;
  }

  /** The delay after a session. A cloud that ends each session soon is not asked again and again without pause. */
  afterSession(session: { readonly lastedMs: number; readonly renewed: boolean; readonly firstMs: number }): number {
    const { stableSessionMs, afterLossMaxMs, reconnectFirstMs } = this.#numbers;
    const isStable = session.lastedMs >= stableSessionMs;
    if (!isStable && !session.renewed) return this.#next(session.firstMs);
    this.#firstMs = session.firstMs;
    this.#backoff.reset(session.firstMs || reconnectFirstMs);
    return session.renewed ? 0 : this.#random() * afterLossMaxMs;
  }
  /** A wish that is new counts from now on, unless the delays have grown beyond it. */
  #next(firstMs: number): number {
    const delayMs = this.#backoff.next();
    if (firstMs === this.#firstMs) return delayMs;
    this.#firstMs = firstMs;
    if (delayMs >= firstMs) return delayMs;
    this.#backoff.reset(firstMs);
    return this.#backoff.next();
  }
}
