/**
 * Gives memory back once a burst of work is over (spec/beyond.md B-03). V8 collects old objects when it needs their
 * room, which on an idle daemon is never: what an update left behind would stay for days.
 */
import { PerformanceObserver } from 'node:perf_hooks';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export interface TidyMemoryOptions {
  /** How long no garbage must have come up. Default 5 s. */
  readonly quietMs?: number;
  /** Less growth than this is not worth the pause of some 40 ms. Default 2 MiB. */
  readonly worthBytes?: number;
  /** Collects everything; default: V8's own collector. */
  readonly collect?: () => void;
  /** What follows the collection: what V8 has freed may still be held by whom it had it from. */
  readonly giveBack?: (() => void) | undefined;
}

const QUIET_MS = 5_000;
const WORTH_BYTES = 2 * 1024 * 1024;

/** Watches for garbage: each small collection tells of work; a full one follows when it is over. No timer runs meanwhile. */
export class TidyMemory {
  readonly #observer = new PerformanceObserver(() => this.#worked());
  readonly #quietMs: number;
  readonly #worthBytes: number;
  readonly #giveBack: () => void;
  #collect: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** What was in use after the last full collection. */
  #usedBytes = 0;

  constructor(options: TidyMemoryOptions = {}) {
    this.#quietMs = options.quietMs ?? QUIET_MS;
    this.#worthBytes = options.worthBytes ?? WORTH_BYTES;
    this.#collect = options.collect;
    this.#giveBack = options.giveBack ?? (() => undefined);
  }

  start(): void {
    this.#observer.observe({ entryTypes: ['gc'] });
    this.#worked();
  }

  stop(): void {
    this.#observer.disconnect();
    clearTimeout(this.#timer);
  }

  #worked(): void {
    if (this.#timer) this.#timer.refresh();
    else this.#timer = setTimeout(() => this.#tidy(), this.#quietMs).unref();
  }

  #tidy(): void {
    this.#timer = undefined;
    if (usedBytes() - this.#usedBytes < this.#worthBytes) return;
    this.#collect ??= exposedCollector();
    this.#collect();
    this.#giveBack();
    this.#usedBytes = usedBytes();
  }
}

function usedBytes(): number {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  return heap + external;
}

/** Collects, compacts, and gives pages back. The flag at the start of the process would cost more: Node's modules are compiled for the flags of a start. */
function exposedCollector(): () => void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options: object) => void;
  setFlagsFromString('--no-expose-gc');
  return () => collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}
