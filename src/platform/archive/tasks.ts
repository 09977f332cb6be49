/** Calls to a disk that need no order among themselves, a few at a time. */
export class Tasks {
  readonly #most: number;
  #running = 0;
  #error: { readonly thrown: unknown } | undefined;
  #wake: (() => void)[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  /** Begins the work; the answer is a promise when the next one must wait. Throws what an earlier one threw. */
  add(work: () => Promise<void>): Promise<void> | undefined {
    this.#throwIfFailed();
    this.#running += 1;
    void work()
      .catch((thrown: unknown) => {
        this.#error ??= { thrown };
      })
      .finally(() => {
        this.#running -= 1;
        const waiting = this.#wake;
        this.#wake = [];
        for (const wake of waiting) wake();
      });
    return this.#running < this.#most ? undefined : this.#until(() => this.#running < this.#most);
  }

  /** When all that was begun has ended. Throws what one of them threw. */
  drain(): Promise<void> | undefined {
    if (this.#running > 0) return this.#until(() => this.#running === 0);
    this.#throwIfFailed();
    return undefined;
  }

  /** When all that was begun has ended, however it ended. */
  async settle(): Promise<void> {
    while (this.#running > 0) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  async #until(isReached: () => boolean): Promise<void> {
    while (!isReached()) await new Promise<void>((resolve) => this.#wake.push(resolve));
    this.#throwIfFailed();
  }

  #throwIfFailed(): void {
    if (this.#error) throw this.#error.thrown;
  }
}
