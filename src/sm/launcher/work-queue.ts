/** Work that is done one after another, in order of arrival; never rejected, each within its own bounds. */
import { AosError, asAosError, type Clock, type Logger } from '../../core/index.ts';

/** Work that waits, beside the one that is done. */
const MAX_WAITING = 64;

export class WorkQueue {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #abort = new AbortController();
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Something waits behind what is done now. */
  get hasWaiting(): boolean {
    return this.#waiting > 0;
  }

  /** Resolves when it is done; a failure is told in the log and ends this work alone. Throws `noMemory` when too much waits. */
  async do(name: string, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    if (this.#waiting >= MAX_WAITING)
      throw new AosError('noMemory', `${MAX_WAITING} requests for instances wait already`);
    this.#waiting += 1;
    this.#last = this.#last.then(async () => {
      this.#waiting -= 1;
      if (!this.#abort.signal.aborted) await this.#run(name, work);
    });
    await this.#last;
  }

  /** Resolves when the work of this moment is done, the bound is over, or nobody waits any more. */
  async settled(boundMs: number, signal: AbortSignal, work = this.#last): Promise<void> {
    const done = new AbortController();
    // Ends early because the work is done, or nobody waits: both are what was waited for.
    const timer = this.#clock.sleep(boundMs, AbortSignal.any([signal, done.signal])).catch(() => undefined);
    await Promise.race([work, timer]);
    done.abort();
  }

  /** Work that waits is dropped, work that runs is told to end; resolves when it has. */
  async stop(): Promise<void> {
    this.#abort.abort(new AosError('canceled', 'the service manager stops'));
    await this.#last;
  }

  async #run(name: string, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const startedMs = this.#clock.monotonicMs();
    try {
      await work(this.#abort.signal);
      this.#logger.info({ durationMs: Math.round(this.#clock.monotonicMs() - startedMs) }, `${name} done`);
    } catch (error) {
      const failure = asAosError(error);
      this.#logger.error({ code: failure.code, ...failure.fields }, `${name} failed: ${failure.message}`);
    }
  }
}
