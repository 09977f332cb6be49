/** Watches one state file and tells when it has come to rest (spec/cm.md 5.3, spec/decisions.md 8.2). */
import { type FSWatcher, watch } from 'node:fs';
import { asAosError, type Clock, type Logger } from '../../core/index.ts';
import { STATE } from '../numbers.ts';
import { STATE_FILE } from './directories.ts';

export interface StateWatchOptions {
  /** Directory of the file: the file may be replaced. */
  readonly directory: string;
  readonly onRest: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The pause that counts as rest. */
  readonly debounceMs?: number;
}

export class StateWatch {
  readonly #options: StateWatchOptions;
  readonly #watcher: FSWatcher;
  /** When the first change was seen that has not been told. */
  #firstAtMs: number | undefined;
  #pause: AbortController | undefined;

  constructor(options: StateWatchOptions) {
    this.#options = options;
    const { directory, logger } = options;
    this.#watcher = watch(directory, { persistent: false }, (_, name) => {
      if (name === STATE_FILE || name === null) this.#changed();
    });
    this.#watcher.on('error', (error) =>
      logger.warn({ directory, error: asAosError(error).message }, 'a state is not watched any more'),
    );
  }

  close(): void {
    this.#watcher.close();
    this.#pause?.abort();
  }

  /** Waits for a pause, but not for ever when the instance never pauses. */
  #changed(): void {
    const { clock, logger, onRest, debounceMs = STATE.debounceMs } = this.#options;
    const nowMs = clock.monotonicMs();
    this.#firstAtMs ??= nowMs;
    const waitMs = Math.max(0, Math.min(debounceMs, this.#firstAtMs + STATE.latestMs - nowMs));
    this.#pause?.abort();
    const pause = new AbortController();
    this.#pause = pause;
    clock.sleep(waitMs, pause.signal).then(
      () => {
        this.#firstAtMs = undefined;
        onRest();
      },
      () => logger.trace({}, 'the state changed again, or is not watched any more'),
    );
  }
}
