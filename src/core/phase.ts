/**
 * Marks in the log at the begin and the end of long phases, so that how long they take can be read from the journal of any
 * unit (spec/product.md O-06, 5.8). The names are those of the product's benchmark guide where it has one.
 */
import type { Logger } from './logger.ts';

export type PhaseName =
  // The CM, for the whole unit:
  | 'process desired status'
  | 'download update items'
  | 'install update items'
  | 'launch instances'
  | 'activate instances'
  | 'finalize update'
  // The SM, for its node:
  | 'update instances'
  | 'install items'
  | 'stop instances'
  | 'start networks'
  | 'start instances';

/** Does the work between two lines of the log: `<phase>: begin`, and `<phase>: end` or `<phase>: failed` with its time. */
export async function phase<T>(
  logger: Logger,
  name: PhaseName,
  fields: Readonly<Record<string, unknown>>,
  work: () => Promise<T>,
): Promise<T> {
  const begin = performance.now();
  const took = () => ({ phase: name, ...fields, tookMs: Math.round(performance.now() - begin) });
  logger.info({ phase: name, ...fields }, `${name}: begin`);
  try {
    const result = await work();
    logger.info(took(), `${name}: end`);
    return result;
  } catch (error) {
    logger.info(took(), `${name}: failed`);
    throw error;
  }
}
