/** One run of a container: from its start to the exit of its first process. */
import { readExitFile, watchExitDirectory } from '../../platform/oci-runtime/index.ts';

export interface RunEnd {
  /** Exit status; 128 + signal when a signal ended the process; -1: nobody knows. */
  readonly status: number;
  /** Wall clock. */
  readonly at: Date;
}

/** Notices the exit by what conmon writes; `look` again is the safety net for a lost notice. */
export class ContainerRun {
  readonly #exitDir: string;
  readonly #id: string;
  readonly #unwatch: () => void;
  readonly #resolve: (end: RunEnd) => void;
  /** When the first process has ended. Never rejects. */
  readonly ended: Promise<RunEnd>;
  /** Monotonic clock. */
  readonly startedAtMs: number;
  #end: RunEnd | undefined;

  constructor(exitDir: string, id: string, startedAtMs: number) {
    this.#exitDir = exitDir;
    this.#id = id;
    this.startedAtMs = startedAtMs;
    const { promise, resolve } = Promise.withResolvers<RunEnd>();
    this.ended = promise;
    this.#resolve = resolve;
    this.#unwatch = watchExitDirectory(exitDir, () => this.look());
    this.look();
  }

  get end(): RunEnd | undefined {
    return this.#end;
  }

  /** Looks whether the exit file is there. */
  look(): void {
    if (this.#end) return;
    const exit = readExitFile(this.#exitDir, this.#id);
    if (exit) this.finish(exit);
  }

  /** The exit is known from elsewhere, or counts as happened. */
  finish(end: RunEnd): void {
    if (this.#end) return;
    this.#end = end;
    this.close();
    this.#resolve(end);
  }

  close(): void {
    this.#unwatch();
  }
}
