/**
 * Notices a peer that is gone without a word. The wire has no sign of life of its own (spec/mp.md 8), and TCP takes a
 * quarter of an hour while something is on its way; but a peer asks for the time again and again (spec/mp.md 13).
 */
import { AosError, type Clock, isAosError } from '../../core/index.ts';
import { LEAST_CLOCK_PERIOD_MS, PEER_SILENT_MS } from '../numbers.ts';
import type { Multiplexer } from '../wire/index.ts';

/** The largest number of questions that may be lost, and a half. */
const PERIODS = 2.5;

export interface SilenceOptions {
  readonly connection: Pick<Multiplexer, 'silentMs' | 'close'>;
  readonly clock: Clock;
  /** The end of the connection. */
  readonly signal: AbortSignal;
}

/** A peer is judged by its silence only after it has shown that it asks from time to time. */
export class SilenceWatch {
  readonly #options: SilenceOptions;
  #lastAskedMs: number | undefined;
  #isWatching = false;

  constructor(options: SilenceOptions) {
    this.#options = options;
  }

  /** The peer has asked for the time. */
  asked(): void {
    const nowMs = this.#options.clock.monotonicMs();
    const periodMs = nowMs - (this.#lastAskedMs ?? nowMs);
    this.#lastAskedMs = nowMs;
    if (this.#isWatching || periodMs < LEAST_CLOCK_PERIOD_MS) return;
    this.#isWatching = true;
    void this.#watch(Math.max(PEER_SILENT_MS, PERIODS * periodMs));
  }

  async #watch(patienceMs: number): Promise<void> {
    const { connection, clock, signal } = this.#options;
    for (let leftMs = patienceMs; leftMs > 0; leftMs = patienceMs - connection.silentMs) {
      try {
        await clock.sleep(leftMs, signal);
      } catch (error) {
        if (isAosError(error) && signal.aborted) return;
        throw error;
      }
    }
    const text = `nothing has come from the peer for ${Math.round(connection.silentMs / 1000)} s`;
    connection.close(new AosError('timeout', text));
  }
}
