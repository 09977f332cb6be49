/** User and group ids of instances (spec/cm.md 4.15, spec/decisions.md CM-42). Pure. */
import { AosError } from '../../core/index.ts';

export interface IdPoolOptions {
  readonly first: number;
  readonly last: number;
  /** True for ids that the host uses itself. */
  readonly isTaken: (id: number) => boolean;
  /** For the error: `uid`, `gid`. */
  readonly what: string;
}

/** Gives each key one id, the lowest that is free; equal keys share it. */
export class IdPool {
  readonly #options: IdPoolOptions;
  readonly #idByKey = new Map<string, number>();
  readonly #keyById = new Map<number, string>();
  /** No id below it is free. */
  #lowest: number;

  constructor(options: IdPoolOptions) {
    this.#options = options;
    this.#lowest = options.first;
  }

  /** Takes an id that was given to the key before; false when it is out of range or another key has it. */
  hold(key: string, id: number): boolean {
    const { first, last } = this.#options;
    if (id < first || id > last) return false;
    const holder = this.#keyById.get(id);
    const held = this.#idByKey.get(key);
    if ((holder !== undefined && holder !== key) || (held !== undefined && held !== id)) return false;
    this.#take(key, id);
    return true;
  }

  /** The id of the key. Throws `noMemory` when none is left. */
  get(key: string): number {
    const known = this.#idByKey.get(key);
    if (known !== undefined) return known;
    const { first, last, isTaken, what } = this.#options;
    for (let id = this.#lowest; id <= last; id += 1) {
      if (this.#keyById.has(id) || isTaken(id)) continue;
      this.#take(key, id);
      this.#lowest = id + 1;
      return id;
    }
    throw new AosError('noMemory', `no free ${what} between ${first} and ${last}`);
  }

  #take(key: string, id: number): void {
    this.#idByKey.set(key, id);
    this.#keyById.set(id, key);
  }
}
