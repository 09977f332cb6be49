/** The peer's side of the connection: its present channels, for whoever needs one (spec/mp.md 16). */
import type { TlsIdentity } from '../../api/index.ts';
import { AosError, canceledBy, type Logger } from '../../core/index.ts';
import { connectTls, MessageChannel, type Multiplexer } from '../wire/index.ts';

/** How long a local program waits for the link before it hears that there is none. */
const LINK_WAIT_MS = 10_000;

export interface PeerSessionOptions {
  readonly proxyAddress: string;
  readonly logger: Logger;
}

export class PeerSession {
  readonly #options: PeerSessionOptions;
  #multiplexer: Multiplexer | undefined;
  readonly #waiters = new Set<() => void>();

  constructor(options: PeerSessionOptions) {
    this.#options = options;
  }

  /** The connection may be used from now on; resolves when it has ended. */
  async use(multiplexer: Multiplexer): Promise<void> {
    this.#multiplexer = multiplexer;
    for (const wake of this.#waiters) wake();
    await multiplexer.ended;
    if (this.#multiplexer === multiplexer) this.#multiplexer = undefined;
  }

  /** The present connection; waits for one. Throws `failed` when none comes about in time. */
  async connection(signal: AbortSignal, boundMs = LINK_WAIT_MS): Promise<Multiplexer> {
    const bound = AbortSignal.any([signal, AbortSignal.timeout(boundMs)]);
    while (!this.#multiplexer?.isOpen) {
      if (signal.aborted) throw canceledBy(signal);
      if (bound.aborted) {
        throw new AosError('failed', `no connection to the proxy at ${this.#options.proxyAddress}`);
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiters.add(resolve);
      bound.addEventListener('abort', () => resolve(), { once: true });
      await promise;
      this.#waiters.delete(resolve);
    }
    return this.#multiplexer;
  }

  /** How many wait for a connection at present. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** Opens a channel, with TLS when an identity is given. An older channel of the port is closed. */
  async open(
    port: number,
    signal: AbortSignal,
    secure?: { identity: TlsIdentity; ca: string },
  ): Promise<MessageChannel> {
    const multiplexer = await this.connection(signal);
    const stream = multiplexer.open(port);
    if (!secure) return new MessageChannel(stream, this.#options.logger);
    return new MessageChannel(stream, this.#options.logger, await connectTls(stream, secure, signal));
  }
}
