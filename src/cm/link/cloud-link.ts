/**
 * The CM's connection to the cloud as a state machine with one owner (spec/cloud-protocol.md 2 to 6, spec/cm.md 7.8,
 * spec/decisions.md 7.6).
 *
 *     stopped → discovering → connecting → opening → connected
 *                    ↑________ waiting ←______________|
 */
import { randomUUID } from 'node:crypto';
import { AosError, asAosError, type Clock, isAosError, type Logger, systemClock } from '../../core/index.ts';
import type { CredentialSource } from '../../daemon/index.ts';
import { type CloudMessage, encodeEnvelope, type UnitMessage } from '../../protocol/index.ts';
import type { EventLog } from '../events/index.ts';
import { ConnectionFlag } from './connection-flag.ts';
import type { DiscoveryConfig } from './discovery.ts';
import { Endpoints, ONLINE } from './endpoints.ts';
import { Inbox, RecentTransactions } from './inbox.ts';
import { LinkDiary } from './link-diary.ts';
import { MessageLog } from './message-log.ts';
import {
  type CloudLinkApi,
  type HandledType,
  type Handler,
  type LinkNumbers,
  type LinkReport,
  linkNumbers,
  type SendOptions,
} from './model.ts';
import { Outbox } from './outbox.ts';
import type { OutboxStore } from './outbox-store.ts';
import { PendingRequests } from './pending-requests.ts';
import { Receiver } from './receiver.ts';
import { Reconnect } from './reconnect.ts';
import { Renewal } from './renewal.ts';
import { Session, UpgradeRefused } from './session.ts';

export interface CloudLinkOptions {
  readonly systemId: string;
  readonly discovery: DiscoveryConfig;
  /** PEM of the only roots that the cloud may chain to. */
  readonly ca: string;
  readonly credentials: CredentialSource;
  readonly store: OutboxStore;
  /** How long an ack and the answer to a request are waited for, in milliseconds. */
  readonly cloudResponseWaitTimeoutMs: number;
  /** File of the log of all frames; absent or empty: none. */
  readonly cloudMessageLog?: string | undefined;
  /** Where changes of the link are told with their reasons. */
  readonly events?: Pick<EventLog, 'record'> | undefined;
  readonly logger: Logger;
  readonly clock?: Clock;
  readonly numbers?: Partial<LinkNumbers>;
}

const UNAUTHORIZED = 401;

export class CloudLink implements CloudLinkApi {
  readonly #options: CloudLinkOptions;
  readonly #numbers: LinkNumbers;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #outbox: Outbox;
  readonly #inbox: Inbox;
  readonly #receiver: Receiver;
  readonly #log: MessageLog;
  readonly #endpoints: Endpoints;
  readonly #renewal: Renewal;
  readonly #connected: ConnectionFlag;
  readonly #diary: LinkDiary;
  readonly #requests = new PendingRequests();
  readonly #abort = new AbortController();
  #session: Session | undefined;
  #makeOpening: () => Promise<UnitMessage | undefined> = async () => undefined;
  #openingAcknowledged: ((message: UnitMessage) => void) | undefined;
  /** Ends the present wait between attempts early. */
  #hurry = new AbortController();
  /** Wakes the sender of the present session. */
  #wakeSender: (() => void) | undefined;
  #dueTimer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #stopWatching: (() => void) | undefined;

  constructor(options: CloudLinkOptions) {
    this.#options = options;
    this.#numbers = { ...linkNumbers, ...options.numbers };
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger;
    this.#connected = new ConnectionFlag(options.logger);
    this.#diary = new LinkDiary({ events: options.events, logger: options.logger, clock: this.#clock });
    this.#outbox = new Outbox(options.store, {
      ...this.#numbers,
      ackTimeoutMs: options.cloudResponseWaitTimeoutMs,
    });
    this.#inbox = new Inbox({
      maxWaiting: this.#numbers.maxWaitingPerKind,
      clock: this.#clock,
      logger: options.logger,
    });
    this.#receiver = new Receiver({
      systemId: options.systemId,
      outbox: this.#outbox,
      inbox: this.#inbox,
      requests: this.#requests,
      recent: new RecentTransactions(this.#numbers.rememberedTransactions),
      numbers: this.#numbers,
      logger: options.logger,
      monotonicMs: () => this.#clock.monotonicMs(),
      onRefusal: (what, because) => this.#diary.refused(what, because),
    });
    this.#log = new MessageLog(options.cloudMessageLog ?? '', this.#numbers.maxMessageLogBytes, options.logger);
    this.#endpoints = new Endpoints({ ...options, numbers: this.#numbers });
    this.#renewal = new Renewal({
      numbers: this.#numbers,
      session: () => this.#session,
      isQuiet: () => this.#connected.isSet && !this.#outbox.awaitsAcks,
      hurry: () => this.#hurry.abort(),
      logger: options.logger,
    });
  }

  get state(): LinkReport {
    return this.#diary.report;
  }

  get connected(): boolean {
    return this.#connected.isSet;
  }

  /** Whether the cloud of the last discovery offers deltas of blobs. */
  get offersDeltas(): boolean {
    return this.#endpoints.offersDeltas;
  }

  send(message: UnitMessage, options: SendOptions = {}): void {
    if (message.messageType === 'unitStatus' && !this.#connected.isSet) return;
    try {
      this.#enqueue(message, options);
    } catch (error) {
      // Whoever reports must not fail because of the report.
      this.#logger.error(
        { messageType: message.messageType, error: asAosError(error).message },
        'a message is not sent',
      );
    }
  }

  async request(message: UnitMessage & { readonly correlationId: string }, signal: AbortSignal): Promise<CloudMessage> {
    const canceled = AbortSignal.any([signal, this.#abort.signal]);
    for (;;) {
      await this.#connected.until(canceled);
      const txn = this.#enqueue(message, {});
      try {
        const answer = await this.#requests.answerTo(message, this.#options.cloudResponseWaitTimeoutMs, canceled);
        if (answer) return answer;
      } finally {
        // An answer acknowledges as well as an ack does; without one, nobody wants this transmission sent again.
        this.#outbox.forget(txn);
      }
    }
  }

  handle<T extends HandledType>(type: T, handler: Handler<T>): void {
    this.#inbox.handle(type, handler);
  }

  onConnection(listener: (connected: boolean) => void): () => void {
    return this.#connected.onChange(listener);
  }

  setOpening(make: () => Promise<UnitMessage | undefined>, onAcknowledged?: (message: UnitMessage) => void): void {
    this.#makeOpening = make;
    this.#openingAcknowledged = onAcknowledged;
  }

  start(): void {
    if (this.#running) return;
    this.#stopWatching = this.#options.credentials.onChange(ONLINE, () => this.#renewal.request());
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#abort.abort(new AosError('canceled', 'the cloud link stops'));
    this.#stopWatching?.();
    this.#renewal.stop();
    this.#inbox.close();
    await this.#running;
    clearTimeout(this.#dueTimer);
    await this.#log.flush();
    this.#diary.enter('stopped');
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    const reconnect = new Reconnect(this.#numbers);
    while (!signal.aborted) {
      const startedMs = this.#clock.monotonicMs();
      let delayMs: number;
      try {
        const { error, renewed } = await this.#serve(await this.#connect());
        const lastedMs = this.#clock.monotonicMs() - startedMs;
        delayMs = reconnect.afterSession({ lastedMs, renewed, firstMs: this.#endpoints.nextRequestDelayMs });
        if (!renewed && !signal.aborted) this.#diary.failed(error, 'the session with the cloud ended');
      } catch (error) {
        if (signal.aborted) break;
        delayMs = reconnect.afterFailure(error, this.#endpoints.nextRequestDelayMs);
        this.#diary.failed(asAosError(error), 'cannot connect to the cloud');
      }
      if (delayMs > 0 && !signal.aborted) await this.#pause(delayMs);
    }
  }

  async #pause(delayMs: number): Promise<void> {
    this.#diary.enter('waiting');
    this.#hurry = new AbortController();
    try {
      await this.#clock.sleep(delayMs, AbortSignal.any([this.#abort.signal, this.#hurry.signal]));
    } catch (error) {
      if (!isAosError(error, 'canceled')) throw error;
    }
  }

  /** One attempt: discovery when needed, and one WebSocket. */
  async #connect(): Promise<Session> {
    const { signal } = this.#abort;
    this.#diary.enter(this.#endpoints.known ? 'connecting' : 'discovering');
    const endpoint = await this.#endpoints.current(signal);
    this.#diary.enter('connecting', endpoint.url);
    try {
      return await Session.open(endpoint.url, {
        token: endpoint.token,
        tls: endpoint.tls,
        numbers: this.#numbers,
        clock: this.#clock,
        signal,
        onFrame: (frame, session) => this.#receive(frame, session),
      });
    } catch (error) {
      if (error instanceof UpgradeRefused && error.status === UNAUTHORIZED) this.#endpoints.forget();
      else this.#endpoints.drop();
      throw error;
    }
  }

  /** Lives through one session. */
  async #serve(session: Session): Promise<{ readonly error: AosError; readonly renewed: boolean }> {
    this.#session = session;
    this.#diary.enter('opening', this.#diary.report.url);
    const over = new AbortController();
    const ended = session.ended.then((error) => {
      over.abort();
      this.#wakeSender?.();
      return error;
    });
    await this.#feed(session, over.signal);
    const error = await ended;
    this.#session = undefined;
    clearTimeout(this.#dueTimer);
    this.#requests.sessionEnded();
    this.#diary.dropped(this.#outbox.sessionEnded());
    this.#connected.set(false);
    return { error, renewed: this.#renewal.ended(session) };
  }

  /** Hands over the full unit status first, then whatever is queued, until the session is over. */
  async #feed(session: Session, over: AbortSignal): Promise<void> {
    try {
      await this.#enqueueOpening(session, over);
      const first = over.aborted ? undefined : this.#outbox.take(this.#clock.monotonicMs());
      if (first) await this.#transmit(session, first);
      if (over.aborted) return;
      this.#diary.enter('connected', this.#diary.report.url);
      this.#connected.set(true);
      while (!over.aborted) {
        const next = this.#outbox.take(this.#clock.monotonicMs());
        if (next) {
          await this.#transmit(session, next);
          continue;
        }
        await new Promise<void>((resolve) => {
          this.#wakeSender = resolve;
        });
      }
    } catch (error) {
      this.#logger.warn({ error: asAosError(error).message }, 'a message could not be sent; the session ends');
      session.close();
    }
  }

  /** Builds the message that opens the session; one that takes too long comes later and does not hold it up. */
  async #enqueueOpening(session: Session, over: AbortSignal): Promise<void> {
    const made = this.#makeOpening()
      .then((message) => {
        if (!message || over.aborted || this.#session !== session) return;
        const onAcknowledged = () => this.#openingAcknowledged?.(message);
        this.#enqueue(message, { replaces: message.messageType, onAcknowledged }, true);
      })
      .catch((error: unknown) => {
        this.#logger.error({ error: asAosError(error).message }, 'the full unit status could not be built');
      });
    const patience = this.#clock.sleep(this.#numbers.openingTimeoutMs, over).catch(() => undefined);
    await Promise.race([made, patience]);
  }

  async #transmit(session: Session, message: { readonly txn: string; readonly frame: Buffer }): Promise<void> {
    this.#log.transmitted(message.frame);
    await session.send(message.frame);
    this.#outbox.sent(message.txn, this.#clock.monotonicMs());
    this.#armTimer();
  }

  #encode(data: UnitMessage, txn: string): Buffer {
    return encodeEnvelope({ txn, systemId: this.#options.systemId, createdAt: this.#clock.now(), data });
  }

  #enqueue(message: UnitMessage, { durable = false, replaces, onAcknowledged }: SendOptions, first = false): string {
    const { messageType } = message;
    const txn = randomUUID();
    const queued = { txn, messageType, frame: this.#encode(message, txn), durable, replaces, onAcknowledged };
    try {
      this.#diary.dropped(this.#outbox.add(queued, { first }));
    } catch (error) {
      if (!durable || !isAosError(error, 'noMemory')) throw error;
      // What a full disk does not keep is on its way all the same.
      this.#logger.warn({ messageType, txn, error: error.message }, 'a message would not survive a restart');
      this.#diary.dropped(this.#outbox.add({ ...queued, durable: false }, { first }));
    }
    this.#wakeSender?.();
    return txn;
  }

  #armTimer(): void {
    clearTimeout(this.#dueTimer);
    const dueMs = this.#outbox.nextDueMs();
    if (dueMs === undefined || !this.#session) return;
    this.#dueTimer = setTimeout(
      () => {
        this.#diary.dropped(this.#outbox.expire(this.#clock.monotonicMs()));
        this.#wakeSender?.();
        this.#armTimer();
      },
      Math.max(1, dueMs - this.#clock.monotonicMs()),
    );
  }

  #receive(frame: Buffer, session: Session): void {
    this.#log.received(frame);
    const txn = this.#receiver.receive(frame);
    if (txn === undefined) {
      this.#armTimer();
      this.#renewal.check();
      return;
    }
    // Acks are not queued: they overtake everything and die with the session.
    const ack = this.#encode({ messageType: 'ack' }, txn);
    this.#log.transmitted(ack);
    session.send(ack).catch((error: unknown) => {
      this.#logger.debug({ txn, error: asAosError(error).message }, 'an ack could not be sent');
    });
  }
}
