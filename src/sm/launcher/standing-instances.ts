/** What is on the node without being wanted, such as firmware that came with it: it has a place on the board too. */
import { type InstanceIdent, instanceKey } from '../../core/index.ts';
import type { Runtime } from './parts.ts';
import type { StatusBoard } from './status-board.ts';

export class StandingInstances {
  readonly #runtimes: readonly Runtime[];
  readonly #board: StatusBoard;
  /** By key. */
  readonly #shown = new Map<string, InstanceIdent>();

  constructor(runtimes: readonly Runtime[], board: StatusBoard) {
    this.#runtimes = runtimes;
    this.#board = board;
  }

  has(key: string): boolean {
    return this.#shown.has(key);
  }

  /** Tells how it is now; what took the place of something ends that. */
  show(): void {
    const before = new Map(this.#shown);
    this.#shown.clear();
    for (const runtime of this.#runtimes) {
      for (const { info, state, because, error } of runtime.standing?.() ?? []) {
        this.#shown.set(instanceKey(info.ident), info.ident);
        this.#board.set(info, state, because, error);
      }
    }
    for (const [key, ident] of before) {
      if (this.#shown.has(key)) continue;
      this.#board.change(ident, 'inactive', 'something else took its place');
      this.#board.remove(ident);
    }
  }
}
