/** How long each kind of step was under way, for at least one of many that run at the same time. */
export class StepClock {
  readonly #steps = new Map<string, { active: number; sinceMs: number; totalMs: number }>();

  /** Does the work as a part of the step. */
  readonly measure = async <T>(step: string, work: () => Promise<T>): Promise<T> => {
    const entry = this.#steps.get(step) ?? { active: 0, sinceMs: 0, totalMs: 0 };
    this.#steps.set(step, entry);
    if (entry.active === 0) entry.sinceMs = performance.now();
    entry.active += 1;
    try {
      return await work();
    } finally {
      entry.active -= 1;
      if (entry.active === 0) entry.totalMs += performance.now() - entry.sinceMs;
    }
  };

  /** The object with some of its methods measured, each as a part of the step. */
  watch<T extends object>(step: string, methods: readonly (keyof T)[], object: T): T {
    return new Proxy(object, {
      get: (target, key) => {
        const value = Reflect.get(target, key, target) as unknown;
        if (typeof value !== 'function') return value;
        const call = (...args: unknown[]) => Reflect.apply(value, target, args) as Promise<unknown>;
        return methods.includes(key as keyof T)
          ? (...args: unknown[]) => this.measure(step, () => call(...args))
          : call;
      },
    });
  }

  /** Milliseconds by step; begins anew. */
  take(): Map<string, number> {
    const result = new Map([...this.#steps].map(([step, { totalMs }]) => [step, totalMs]));
    this.#steps.clear();
    return result;
  }
}
