/** The connection between proxy and peer, one after another, for ever (spec/mp.md 8). */
import { AosError, asAosError, type Clock, isAosError, type Logger } from '../../core/index.ts';
import type { Transport } from '../transport/transport.ts';
import { type DropCounts, Multiplexer, type PortOptions } from './multiplexer.ts';

export interface LinkOptions {
  readonly transport: Transport;
  readonly ports: readonly PortOptions[];
  readonly side: 'server' | 'client';
  /** Pause after a connection that did not come about. */
  readonly retryMs: number;
  /** Uses a connection until the signal aborts, which is when it ends. */
  readonly serve: (multiplexer: Multiplexer, signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface LinkReport {
  readonly state: 'waiting' | 'connected';
  readonly address: string;
  /** ISO 8601. */
  readonly since: string;
  readonly lastError?: string;
  readonly dropped?: DropCounts;
}

export class Link {
  readonly #options: LinkOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #multiplexer: Multiplexer | undefined;
  #since: Date;
  #lastError: string | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#since = options.clock.now();
  }

  get report(): LinkReport {
    return {
      state: this.#multiplexer ? 'connected' : 'waiting',
      address: this.#options.transport.address,
      since: this.#since.toISOString(),
      ...(this.#lastError === undefined ? {} : { lastError: this.#lastError }),
      ...(this.#multiplexer ? { dropped: this.#multiplexer.dropped } : {}),
    };
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new AosError('canceled', 'the proxy stops'));
    this.reset(new AosError('canceled', 'the proxy stops'));
    await this.#options.transport.close();
    await this.#running;
  }

  /** Ends the present connection; the next one follows. */
  reset(reason: AosError): void {
    this.#multiplexer?.close(reason);
  }

  async #run(): Promise<void> {
    const { transport, clock, retryMs, logger } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const startedMs = clock.monotonicMs();
      let pauseMs = retryMs;
      try {
        await this.#serveNext(signal);
        // Whoever takes connections and closes them at once is not asked without a pause; a listener just waits.
        pauseMs = transport.begins ? retryMs - (clock.monotonicMs() - startedMs) : 0;
      } catch (error) {
        if (signal.aborted) return;
        const { message } = asAosError(error);
        if (message !== this.#lastError) logger.warn({ retryMs }, message);
        this.#lastError = message;
      }
      if (pauseMs <= 0) continue;
      await clock.sleep(pauseMs, signal).catch((end) => {
        if (!isAosError(end, 'canceled')) throw end;
      });
    }
  }

  async #serveNext(signal: AbortSignal): Promise<void> {
    const { transport, ports, side, clock, logger, serve } = this.#options;
    const stream = await transport.next(signal);
    const multiplexer = new Multiplexer({ stream, ports, side, clock, logger });
    const ended = new AbortController();
    this.#multiplexer = multiplexer;
    this.#since = clock.now();
    logger.info({ address: transport.address }, 'connected');
    const serving = serve(multiplexer, ended.signal).catch((error: unknown) => {
      if (ended.signal.aborted) return;
      // Without its user the connection is of no use.
      multiplexer.close(asAosError(error));
    });
    const reason = await multiplexer.ended;
    ended.abort(reason);
    await serving;
    this.#multiplexer = undefined;
    this.#since = clock.now();
    this.#lastError = reason.message;
    if (!signal.aborted) logger.warn({ reason: reason.message }, 'the connection ended');
  }
}
