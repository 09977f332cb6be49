/** Asks nodes what they use on average (spec/cm.md 4.5 step 2, spec/decisions.md CM-30). */
import { asAosError, type Logger, throwIfCanceled } from '../../core/index.ts';
import type { NodeMonitoring } from '../nodes/index.ts';

export class NodeMeasurements {
  readonly #ask: (nodeId: string, signal: AbortSignal) => Promise<NodeMonitoring>;
  readonly #logger: Logger;
  readonly #last = new Map<string, NodeMonitoring>();

  constructor(ask: (nodeId: string, signal: AbortSignal) => Promise<NodeMonitoring>, logger: Logger) {
    this.#ask = ask;
    this.#logger = logger;
  }

  /** What is known without asking. */
  get last(): ReadonlyMap<string, NodeMonitoring> {
    return this.#last;
  }

  /** Asks all at once; a silent node counts with its last known values. Throws only `canceled`. */
  async measure(nodeIds: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, NodeMonitoring>> {
    await Promise.all(
      nodeIds.map(async (nodeId) => {
        try {
          this.#last.set(nodeId, await this.#ask(nodeId, signal));
        } catch (error) {
          throwIfCanceled(signal);
          this.#logger.warn({ nodeId, error: asAosError(error).message }, 'a node does not tell what it uses');
        }
      }),
    );
    return this.#last;
  }
}
