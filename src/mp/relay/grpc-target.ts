/** One gRPC server that the proxy is a client of: its credentials, its present channel (spec/mp.md 11, iam.md 15.1). */
import { Channel, type ClientTls } from '../../api/index.ts';
import { asAosError, type Clock, type Logger } from '../../core/index.ts';
import { CONNECT_TIMEOUT_MS } from '../numbers.ts';

/** One way to connect, asked anew at each connection; undefined is plain text. */
export type Credential = () => Promise<ClientTls | undefined>;

export interface GrpcTargetOptions {
  /** `main IAM`, `CM`; for the log. */
  readonly name: string;
  readonly address: string;
  /** Tried in turn until one works. */
  readonly credentials: readonly Credential[];
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Open {
  readonly channel: Channel;
  readonly sinceMs: number;
}

export class GrpcTarget {
  readonly #options: GrpcTargetOptions;
  #credentials: readonly Credential[];
  #open: Promise<Open> | undefined;
  #lastError: string | undefined;

  constructor(options: GrpcTargetOptions) {
    this.#options = options;
    this.#credentials = options.credentials;
  }

  get address(): string {
    return this.#options.address;
  }

  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** The present channel, or a new one. Throws `timeout`, or `failed` with what hinders it. */
  async channel(): Promise<Channel> {
    this.#open ??= this.#connect();
    const open = this.#open;
    try {
      return (await open).channel;
    } catch (error) {
      // It may have been closed, and another one begun, while it tried.
      if (this.#open === open) this.#open = undefined;
      throw error;
    }
  }

  /** A stream over the channel ended. `worked`: something was heard on it; else another credential may be the right one. */
  async ended(worked: boolean, error?: unknown): Promise<void> {
    const open = await this.#open?.catch(() => undefined);
    this.#note(error);
    if (worked || !open) return;
    this.close();
    // A plain connection comes about with a TLS server too, and breaks at the first byte.
    if (this.#options.clock.monotonicMs() - open.sinceMs < CONNECT_TIMEOUT_MS) this.#tryNext();
  }

  /** Ends the channel and everything on it; the next use connects with the credentials as they are then. */
  close(): void {
    const open = this.#open;
    this.#open = undefined;
    open?.then(
      ({ channel }) => channel.close(),
      // It never opened; whoever asked for it has been told.
      () => undefined,
    );
  }

  async #connect(): Promise<Open> {
    const { address, name } = this.#options;
    let channel: Channel | undefined;
    try {
      const tls = await this.#credentials[0]!();
      channel = new Channel({ address, ...(tls ? { tls } : {}) });
      await channel.ready(CONNECT_TIMEOUT_MS);
      // Once TLS has worked, plain text is not tried any more (spec/decisions.md IA-15).
      if (tls) this.#credentials = [this.#credentials[0]!];
      this.#lastError = undefined;
      return { channel, sinceMs: this.#options.clock.monotonicMs() };
    } catch (error) {
      channel?.close();
      this.#tryNext();
      const failure = asAosError(error, `no connection to the ${name} at ${address}`);
      this.#note(failure);
      throw failure;
    }
  }

  #note(error: unknown): void {
    if (error === undefined) return;
    const { name, logger } = this.#options;
    const { message } = asAosError(error);
    if (message !== this.#lastError) logger.warn({ target: name, error: message }, 'no stream; trying again');
    this.#lastError = message;
  }

  #tryNext(): void {
    const [failed, ...others] = this.#credentials;
    this.#credentials = [...others, failed!];
  }
}
