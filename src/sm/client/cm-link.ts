/**
 * The stream of this node to its CM: one at a time, opened again for ever (spec/sm.md 2, spec/decisions.md C-65…C-67).
 *
 * On each stream the node introduces itself: first `sm_info`, then the status of all instances. Until then nothing
 * that names an instance is sent. What happens while there is no stream is lost, but for alerts and parts of logs.
 */
import { EventEmitter } from 'node:events';

import { asCallError, Channel } from '../../api/index.ts';
import { AosError, type Clock, instanceKey, type Logger } from '../../core/index.ts';
import type { CredentialSource } from '../../daemon/index.ts';
import type { InstanceStatus } from '../model.ts';
import { CERTIFICATE_RECONNECT_MS, MAX_WAITING_REPORTS, REFUSED_RETRY_FOR_MS, REFUSED_RETRY_MS } from '../numbers.ts';
import { type CmHandlers, CmSession, type NodeDescription } from './cm-session.ts';
import { type OutgoingMessage, statusMessage } from './messages.ts';

export interface CmLinkOptions {
  /** `host:port` of the CM. */
  readonly address: string;
  /** PEM of the roots. */
  readonly ca: string;
  readonly checkHostName: boolean;
  readonly certStorage: string;
  readonly reconnectMs: number;
  readonly credentials: CredentialSource;
  readonly node: NodeDescription;
  readonly handlers: CmHandlers;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** `connecting`: the stream is being opened; `connected`: the CM has answered; `waiting`: until the next try. */
export type LinkState = 'connecting' | 'connected' | 'waiting';

export class CmLink {
  readonly #options: CmLinkOptions;
  readonly #abort = new AbortController();
  readonly #events = new EventEmitter<{ state: [LinkState]; session: [] }>();
  readonly #unsubscribe: () => void;
  /** Alerts and parts of logs for the next stream, oldest first. */
  #reports: readonly OutgoingMessage[] = [];
  #changed = new Map<string, InstanceStatus>();
  #session: CmSession | undefined;
  #state: LinkState = 'waiting';
  #certificateChanged = false;
  #wakeUp = new AbortController();
  #running: Promise<void> | undefined;
  #lastError = '';

  constructor(options: CmLinkOptions) {
    this.#options = options;
    this.#events.setMaxListeners(0);
    this.#unsubscribe = options.credentials.onChange(options.certStorage, () => this.#changeCertificate());
  }

  get state(): LinkState {
    return this.#state;
  }

  /** Why the last stream ended or could not be opened; empty after a success. */
  get lastError(): string {
    return this.#lastError;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    this.#abort.abort(new AosError('canceled', 'the service manager stops'));
    await this.#running;
  }

  onState(listener: (state: LinkState) => void): () => void {
    this.#events.on('state', listener);
    return () => this.#events.off('state', listener);
  }

  /** The channel of the present stream; waits for one, `failed` when none comes up within the bound. */
  async channel(boundMs: number, signal: AbortSignal): Promise<Channel> {
    const bound = AbortSignal.any([signal, this.#abort.signal, AbortSignal.timeout(boundMs)]);
    while (!this.#session) {
      const news = new Promise<void>((resolve) => this.#events.once('session', resolve));
      const over = new Promise<void>((resolve) => bound.addEventListener('abort', () => resolve(), { once: true }));
      if (!bound.aborted) await Promise.race([news, over]);
      if (bound.aborted && !this.#session) {
        const why = this.#lastError ? `: ${this.#lastError}` : '';
        throw new AosError('failed', `no connection to the CM at ${this.#options.address}${why}`);
      }
    }
    return this.#session.channel;
  }

  /** A new state of an instance. Changes of one moment travel in one message. */
  sendStatus(status: InstanceStatus): void {
    if (this.#changed.size === 0) setImmediate(() => this.#flushStatuses());
    this.#changed.set(instanceKey(status.ident), status);
  }

  /** An alert or a part of a log: kept for the next stream if there is none, the oldest of too many is dropped. */
  report(message: OutgoingMessage): void {
    if (this.#session?.isIntroduced) {
      this.#session.send(message);
      return;
    }
    this.#keep([...this.#reports, message]);
  }

  /** Something that is out of date when there is no stream, for example monitoring. */
  sendIfConnected(message: OutgoingMessage): void {
    if (this.#session?.isIntroduced) this.#session.send(message);
  }

  #keep(reports: readonly OutgoingMessage[]): void {
    this.#reports = reports.slice(-MAX_WAITING_REPORTS);
  }

  #flushStatuses(): void {
    const changed = [...this.#changed.values()];
    this.#changed = new Map();
    const known = changed.filter(({ ident }) => this.#session?.isListed(ident));
    if (known.length === 0) return;
    this.#session?.send({ case: 'updateInstancesStatus', value: { instances: known.map(statusMessage) } });
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    let refusedSinceMs: number | undefined;
    while (!signal.aborted) {
      let delayMs = this.#options.reconnectMs;
      try {
        await this.#connect(signal);
        this.#say('the CM ended the stream');
        refusedSinceMs = undefined;
      } catch (error) {
        if (signal.aborted) return;
        this.#say(asCallError(error, `stream to the CM at ${this.#options.address}`).message);
        const nowMs = this.#options.clock.monotonicMs();
        refusedSinceMs = isRefused(error) ? (refusedSinceMs ?? nowMs) : undefined;
        const isFresh = refusedSinceMs !== undefined && nowMs - refusedSinceMs < REFUSED_RETRY_FOR_MS;
        if (isFresh) delayMs = Math.min(delayMs, REFUSED_RETRY_MS);
      }
      if (this.#certificateChanged) delayMs = CERTIFICATE_RECONNECT_MS;
      this.#certificateChanged = false;
      this.#setState('waiting');
      await this.#wait(delayMs);
    }
  }

  async #connect(signal: AbortSignal): Promise<void> {
    const { address, ca, checkHostName, certStorage, credentials } = this.#options;
    this.#setState('connecting');
    const identity = await credentials.identity(certStorage);
    const channel = new Channel({ address, tls: { ca, checkHostName, identity } });
    const session = new CmSession({
      channel,
      node: this.#options.node,
      handlers: this.#options.handlers,
      logger: this.#options.logger,
    });
    this.#session = session;
    this.#events.emit('session');
    const introduced = session.introduced.then(
      () => {
        const waiting = this.#reports;
        this.#reports = [];
        for (const message of waiting) session.send(message);
      },
      // The stream ended first; what waits goes over the next one.
      () => undefined,
    );
    try {
      await session.run(signal, () => {
        this.#lastError = '';
        this.#setState('connected');
      });
    } finally {
      this.#session = undefined;
      session.close();
      await introduced;
      this.#keep([...session.unsent.filter(isReport), ...this.#reports]);
    }
  }

  #changeCertificate(): void {
    this.#options.logger.info(
      { type: this.#options.certStorage },
      'a new certificate; the stream to the CM is opened again',
    );
    this.#certificateChanged = true;
    this.#session?.close();
  }

  async #wait(delayMs: number): Promise<void> {
    this.#wakeUp = new AbortController();
    const signal = AbortSignal.any([this.#abort.signal, this.#wakeUp.signal]);
    // Ends early when the link is to be tried now, or stops.
    await this.#options.clock.sleep(delayMs, signal).catch(() => undefined);
  }

  #setState(state: LinkState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#events.emit('state', state);
  }

  /** Once per reason: a CM that is away for days fills no log. */
  #say(message: string): void {
    if (message !== this.#lastError) this.#options.logger.warn({ address: this.#options.address }, message);
    this.#lastError = message;
  }
}

/** What the CM is to hear however late; everything else is told anew on the next stream, or out of date. */
function isReport({ case: kind }: OutgoingMessage): boolean {
  return kind === 'alert' || kind === 'log';
}

function isRefused(error: unknown): boolean {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if ((cause as { code?: unknown }).code === 'ECONNREFUSED' || cause.message.includes('ECONNREFUSED')) return true;
  }
  return false;
}
