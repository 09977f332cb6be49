/** Writes that a full disk does not take now (spec/beyond.md R-02): the only cure is room, which others make. */
import { type Clock, isAosError } from '../../core/index.ts';
import { UPDATE } from '../numbers.ts';

export interface StoreOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Told once, when it has to wait. */
  readonly onFull: (because: string) => void;
}

/** Writes at once, else again and again while the disk is full. Throws what else hinders, and `canceled` when aborted. */
export async function untilStored(write: () => void, { clock, signal, onFull }: StoreOptions): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      write();
      return;
    } catch (error) {
      if (!isAosError(error, 'noMemory')) throw error;
      if (tries === 1) onFull(error.message);
    }
    await clock.sleep(UPDATE.storeAgainMs, signal);
  }
}
