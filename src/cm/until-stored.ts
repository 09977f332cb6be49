/** Work that a full disk does not let happen now (spec/beyond.md R-02): the only cure is room, which others make. */
import { asAosError, type Clock } from '../core/index.ts';
import { isDiskFull } from '../storage/index.ts';
import { UPDATE } from './numbers.ts';

export interface StoreOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Told once, when it has to wait. */
  readonly onFull: (because: string) => void;
}

/**
 * Works at once, else again and again while the disk is full. Throws what else hinders, and `canceled` when aborted.
 */
export async function untilStored<T>(work: () => T | Promise<T>, { clock, signal, onFull }: StoreOptions): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      const full = asAosError(error);
      if (!isDiskFull(full)) throw error;
      if (tries === 1) onFull(full.message);
    }
    await clock.sleep(UPDATE.storeAgainMs, signal);
  }
}
