/** When the launcher places anew by itself (spec/cm.md 4.12, spec/decisions.md CM-38, CM-39). */
import { isDeepStrictEqual } from 'node:util';
import { asAosError, type Clock, isAosError, type Logger } from '../../core/index.ts';
import type { NodeInfo } from '../model.ts';
import type { QuotaAlertState } from '../nodes/index.ts';
import { LAUNCHER } from '../numbers.ts';

export interface RebalancesOptions {
  readonly run: (signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Collects reasons; one round serves all that came before it. A launch goes first and interrupts a round. */
export class Rebalances {
  readonly #options: RebalancesOptions;
  readonly #reasons = new Set<string>();
  readonly #known = new Map<string, NodeInfo>();
  readonly #alertedAtMs = new Map<string, number>();
  readonly #stopping = new AbortController();
  /** Reasons that are served by what runs now, if it comes about. */
  #served: readonly string[] = [];
  #launches = 0;
  #isStarted = false;
  #running: { readonly abort: AbortController; readonly end: Promise<void> } | undefined;

  constructor(options: RebalancesOptions) {
    this.#options = options;
  }

  get isDue(): boolean {
    return this.#reasons.size > 0;
  }

  start(): void {
    this.#isStarted = true;
    this.#kick();
  }

  async stop(): Promise<void> {
    this.#isStarted = false;
    this.#stopping.abort();
    this.#running?.abort.abort();
    await this.#running?.end;
  }

  request(because: string): void {
    this.#reasons.add(because);
    this.#kick();
  }

  /** Everything that is due is served by the round that begins to place now. */
  clear(): void {
    this.#served = [...this.#reasons];
    this.#reasons.clear();
  }

  /** Runs a launch: no round begins meanwhile, one that waits or runs gives way. */
  async aside<T>(launch: () => Promise<T>): Promise<T> {
    this.#launches += 1;
    const running = this.#running;
    if (running) this.#reasons.add('a round was interrupted');
    running?.abort.abort();
    this.#served = [];
    try {
      return await launch();
    } catch (error) {
      for (const because of this.#served) this.#reasons.add(because);
      throw error;
    } finally {
      this.#launches -= 1;
      this.#kick();
    }
  }

  /** Takes note of a node; the reason to place anew when more than its connection changed. */
  learn(node: NodeInfo): string | undefined {
    const before = this.#known.get(node.nodeId);
    this.#known.set(node.nodeId, node);
    if (!before) return node.state === 'provisioned' ? `node ${node.nodeId} is new` : undefined;
    const { isConnected, error: _, ...rest } = node;
    const { isConnected: wasConnected, error: __, ...former } = before;
    // With the connection the runtimes and resources come and go.
    const same =
      isConnected === wasConnected ? rest : { ...rest, runtimes: former.runtimes, resources: former.resources };
    if (isDeepStrictEqual(same, former)) return undefined;
    return node.state === before.state
      ? `node ${node.nodeId} changed`
      : `node ${node.nodeId} is ${node.state}, it was ${before.state}`;
  }

  /** A node has too much to do: at most one round per node and five minutes, unless it is news. */
  alerted(nodeId: string, state: QuotaAlertState): void {
    if (state === 'fall') return;
    const nowMs = this.#options.clock.monotonicMs();
    const lastMs = this.#alertedAtMs.get(nodeId);
    if (state === 'continue' && lastMs !== undefined && nowMs - lastMs < LAUNCHER.rebalancePauseMs) return;
    this.#alertedAtMs.set(nodeId, nowMs);
    this.request(`node ${nodeId} is overloaded`);
  }

  #kick(): void {
    if (!this.#isStarted || this.#launches > 0 || this.#running || !this.isDue) return;
    const abort = new AbortController();
    const end = this.#work(abort.signal).finally(() => {
      this.#running = undefined;
      this.#kick();
    });
    this.#running = { abort, end };
  }

  async #work(signal: AbortSignal): Promise<void> {
    const because = [...this.#reasons];
    const { run, logger } = this.#options;
    logger.info({ because }, 'placing instances anew');
    this.#served = [];
    try {
      await run(signal);
    } catch (error) {
      if (isAosError(error, 'canceled') || signal.aborted) return;
      this.#again([...this.#served, ...this.#reasons]);
      this.#reasons.clear();
      logger.error(
        { because, error: asAosError(error).message },
        'instances were not placed anew; it is tried again in a while',
      );
    }
  }

  /** What hindered a round, such as a full disk, is seldom over at once. */
  #again(reasons: readonly string[]): void {
    const { clock, logger } = this.#options;
    clock.sleep(LAUNCHER.rebalanceAgainMs, this.#stopping.signal).then(
      () => {
        for (const because of reasons) this.request(because);
      },
      () => logger.trace({ reasons }, 'instances are not placed anew any more: the CM stops'),
    );
  }
}
