/** What links and rushes leave free between pieces of memory in use goes back to the system (docs/decisions/0023-memory-of-a-link.md). */
import { asAosError, type Logger } from '../core/index.ts';

/** A process that has less gives back less than it costs to load what calls the C library. */
const WORTH_BYTES = 128 * 1024 * 1024;

/** Gives memory back when the process has much; where that cannot be done it is tried once. */
export function memoryGiver(
  load: () => { giveBackMemory(): unknown },
  usedBytes: () => number = process.memoryUsage.rss,
): (logger: Logger) => void {
  let library: ReturnType<typeof load> | undefined;
  let cannot = false;
  return (logger) => {
    if (cannot || usedBytes() < WORTH_BYTES) return;
    try {
      library ??= load();
      library.giveBackMemory();
    } catch (error) {
      cannot = true;
      logger.debug({ error: asAosError(error).message }, 'free memory cannot be given back to the system');
    }
  };
}
