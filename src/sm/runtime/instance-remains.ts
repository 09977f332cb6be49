/** What an instance has on the host besides its processes, and how it is given back. */
import { type AosError, asAosError } from '../../core/index.ts';
import { readExitFile } from '../../platform/oci-runtime/index.ts';
import type { Bundle } from './bundle.ts';
import type { InstanceParts } from './instance-parts.ts';
import { removeContainer } from './remove-container.ts';

/** Bound of everything after the stop timeout (spec/decisions.md 5.4). */
export const AFTER_KILL_MS = 15_000;
/** By then the turn to be removed has come, also behind a thousand others. */
const REMOVAL_TURN_MS = 120_000;
/** Of that, what the runtime may take to remove the container; the rest is for what it holds up. */
const REMOVAL_MS = 10_000;
/** One that takes longer may hang, and the next is begun beside it: else a hundred that hang would outlast a stop. */
const REMOVAL_SLOT_MS = 500;

export class InstanceRemains {
  readonly #parts: InstanceParts;
  readonly #bundle: Bundle;

  constructor(parts: InstanceParts, bundle: Bundle) {
    this.#parts = parts;
    this.#bundle = bundle;
  }

  /** Root, then bundle. Throws when something stays. */
  async giveBack(): Promise<void> {
    const { id, dir } = this.#bundle;
    await this.#parts.roots.remove(id, dir, AbortSignal.timeout(AFTER_KILL_MS));
    // Only then: what is still mounted must not be emptied.
    await this.#parts.measure('bundle', () => this.#bundle.remove());
  }

  /** As `giveBack`, where nothing can be done about what stays. */
  async giveBackWhatCan(): Promise<void> {
    await this.giveBack().catch((error) => this.#warn(error, 'remains of a failed instance stay'));
  }

  /** As `removeContainer`, when its turn has come: each removal has its bound from then on, where hundreds stop at once. */
  removeInTurn(): Promise<AosError | undefined> {
    const turn = AbortSignal.timeout(REMOVAL_TURN_MS);
    return this.#removeContainer((work) => this.#parts.endSlots.useAtMost(REMOVAL_SLOT_MS, work, turn));
  }

  /**
   * Gives back the cgroup and the runtime's record of what has ended, so that a next run finds nothing; the runtime is
   * not waited for any longer when the signal aborts. Throws when something stays.
   */
  async clearContainer(signal: AbortSignal): Promise<void> {
    await this.#removeContainer((work) => work(), signal);
  }

  /** Gives back the same, where nothing can be done about what stays. */
  async dropContainer(): Promise<void> {
    await this.#removeContainer((work) => work()).catch((error) => this.#warn(error, 'a dead container stays'));
  }

  /** Answers what the runtime complained about. Throws when something stays. */
  async #removeContainer(
    inTurn: (work: () => Promise<void>) => Promise<void>,
    signal?: AbortSignal,
  ): Promise<AosError | undefined> {
    const { id } = this.#bundle;
    const bound = () => AbortSignal.any([AbortSignal.timeout(REMOVAL_MS), ...(signal ? [signal] : [])]);
    const hasEnded = readExitFile(this.#bundle.exitDir, id) !== undefined;
    const complaint = await removeContainer(this.#parts, id, hasEnded, () =>
      inTurn(() => this.#parts.engine.remove(id, bound())),
    );
    if (complaint) this.#warn(complaint, 'its runtime did not remove it: cgroup and record were removed without it');
    return complaint;
  }

  #warn(error: unknown, message: string): void {
    this.#parts.logger.warn({ id: this.#bundle.id, error: asAosError(error).message }, message);
  }
}
