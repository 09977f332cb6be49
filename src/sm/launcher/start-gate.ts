/** Holds an instance back until what it depends on is there (spec/beyond.md P-22). */
import { EventEmitter } from 'node:events';
import { AosError, type Clock, type InstanceIdent, instanceKey } from '../../core/index.ts';
import { type Dependency, type NeighbourFacts, whyWait } from './dependencies.ts';
import type { InstanceChange } from './parts.ts';
import type { StatusBoard } from './status-board.ts';

export class StartGate {
  readonly #board: StatusBoard;
  readonly #clock: Clock;
  readonly #events = new EventEmitter<{ change: [] }>().setMaxListeners(0);
  /** Keys of instances whose main process runs while they are not active yet. */
  readonly #started = new Set<string>();
  readonly #completed = new Set<string>();
  /** Keys of instances of a launch that goes on. */
  readonly #pending = new Set<string>();

  constructor(board: StatusBoard, clock: Clock) {
    this.#board = board;
    this.#clock = clock;
    board.onChange(() => this.#events.emit('change'));
  }

  /** What a runtime saw; to be told after the board. */
  take({ ident, state, milestone }: InstanceChange): void {
    const key = instanceKey(ident);
    const put = (set: Set<string>, isIn: boolean) => (isIn ? set.add(key) : set.delete(key));
    put(this.#started, milestone === 'process runs' || state === 'active');
    put(this.#completed, milestone === 'completed');
    this.#events.emit('change');
  }

  /** A launch begins with these, or ends with one of them. */
  setPending(idents: readonly InstanceIdent[], isPending: boolean): void {
    for (const ident of idents) {
      if (isPending) this.#pending.add(instanceKey(ident));
      else this.#pending.delete(instanceKey(ident));
    }
    this.#events.emit('change');
  }

  /** Why it must not start now; undefined when it may. */
  whyWait(dependencies: readonly Dependency[]): string | undefined {
    for (const dependency of dependencies) {
      const because = whyWait(dependency, this.#neighbours(dependency.itemId));
      if (because !== undefined) return because;
    }
    return undefined;
  }

  /** Resolves when it may start. Throws `timeout` with what is missing, `canceled`. */
  async pass(dependencies: readonly Dependency[], boundMs: number, signal: AbortSignal): Promise<void> {
    const deadline = this.#clock.monotonicMs() + boundMs;
    for (let because = this.whyWait(dependencies); because !== undefined; because = this.whyWait(dependencies)) {
      const leftMs = deadline - this.#clock.monotonicMs();
      if (leftMs <= 0) throw new AosError('timeout', because);
      await this.#change(leftMs, signal);
    }
  }

  onChange(listener: () => void): () => void {
    this.#events.on('change', listener);
    return () => this.#events.off('change', listener);
  }

  async #change(boundMs: number, signal: AbortSignal): Promise<void> {
    const enough = new AbortController();
    const changed = Promise.withResolvers<void>();
    const unsubscribe = this.onChange(() => changed.resolve());
    const tooLong = this.#clock.sleep(boundMs, AbortSignal.any([signal, enough.signal]));
    try {
      await Promise.race([changed.promise, tooLong]);
    } finally {
      unsubscribe();
      enough.abort();
      // The loser of the race ends in vain.
      tooLong.catch(() => undefined);
    }
  }

  #neighbours(itemId: string): NeighbourFacts[] {
    return this.#board
      .entries()
      .filter(({ status }) => status.ident.itemId === itemId && status.ident.type === 'service')
      .map(({ status, because }) => {
        const key = instanceKey(status.ident);
        return {
          version: status.version,
          state: status.state,
          hasStarted: this.#started.has(key),
          hasCompleted: this.#completed.has(key),
          isPending: this.#pending.has(key),
          because,
        };
      });
  }
}
