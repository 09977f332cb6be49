/** Reboots that something on the node asks for: gathered, and carried out when nothing launches (spec/product.md SM-60). */
import { AosError, type Logger } from '../../core/index.ts';

export interface RebootParts {
  /** Reboots the node; reasons for people. Absent: this node cannot. */
  readonly reboot?: ((reasons: readonly string[]) => Promise<void>) | undefined;
  /** Does the work in its turn. */
  readonly enqueue: (work: () => Promise<void>) => void;
  /** A launch waits behind the work that is done now. */
  readonly hasWaiting: () => boolean;
  readonly logger: Logger;
}

export class RebootRequests {
  readonly #parts: RebootParts;
  /** Why the node is to be rebooted, until it is. */
  readonly #reasons = new Set<string>();

  constructor(parts: RebootParts) {
    this.#parts = parts;
  }

  add(because: string): void {
    const isFirst = this.#reasons.size === 0;
    this.#reasons.add(because);
    if (isFirst) this.#parts.enqueue(() => this.#carryOut());
  }

  async #carryOut(): Promise<void> {
    const { reboot, enqueue, hasWaiting, logger } = this.#parts;
    if (hasWaiting()) return enqueue(() => this.#carryOut());
    const reasons = [...this.#reasons];
    this.#reasons.clear();
    if (!reboot) throw new AosError('notSupported', `this node cannot be rebooted by us: ${reasons.join('; ')}`);
    logger.info({ reasons }, 'the node is rebooted');
    await reboot(reasons);
  }
}
