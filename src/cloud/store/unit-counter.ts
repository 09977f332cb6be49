const MAX_UNITS = 100_000;

/**
 * Counts what units send, so that each is trimmed once in a while: a look at all units together would take longer the
 * more there are.
 */
export class UnitCounter {
  readonly #counts = new Map<string, number>();
  readonly #every: number;

  constructor(every: number) {
    this.#every = every;
  }

  /** True the first time, then once in so many calls for the same unit. */
  isDue(systemId: string): boolean {
    const count = this.#counts.get(systemId) ?? 0;
    // Of units that are gone nothing stays for ever.
    if (this.#counts.size > MAX_UNITS) this.#counts.clear();
    this.#counts.set(systemId, (count + 1) % this.#every);
    return count === 0;
  }
}
