/** One connection of a unit: frames, receipts, repetitions, liveness (spec/cloud-protocol.md 3, 6). */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { WebSocket } from 'ws';
import { AosError, asAosError, type Logger } from '../../core/index.ts';
import {
  type CloudMessage,
  decodeUnitMessage,
  type Envelope,
  encodeEnvelope,
  peekTxn,
  type UnitMessage,
} from '../../protocol/index.ts';
import type { UnitEvents } from '../model/unit-events.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import type { NewMessage } from '../store/messages.ts';
import type { Stores } from '../store/stores.ts';

export interface SessionTimes {
  readonly ackTimeoutMs: number;
  readonly transmissions: number;
  readonly pingIntervalMs: number;
}

/** What the cloud does with a message. */
export interface MessageHandler {
  /** Writes what must be durable before the acknowledgement, in one transaction with the log. */
  store(message: UnitMessage, stores: Stores): Promise<void>;
  /** Everything else, after the acknowledgement. */
  react(message: UnitMessage): Promise<void>;
}

export interface SessionOptions {
  readonly systemId: string;
  readonly socket: WebSocket;
  readonly times: SessionTimes;
  readonly database: CloudDatabase;
  readonly events: UnitEvents;
  readonly logger: Logger;
  readonly now: () => Date;
  /** Told when the unit ends the connection over a message that is too large for it. */
  readonly onTooLarge?: ((largest: SentMessage | undefined) => void) | undefined;
}

/** A message that the unit has not acknowledged. */
export interface SentMessage {
  readonly messageType: string;
  readonly frame: Buffer;
}

/** How the next messages are to be treated, for tests of units. */
export interface Disturbance {
  readonly answer: 'nack' | 'silence';
  readonly retryAfter?: number | undefined;
  /** Only messages of this type. */
  readonly messageType?: string | undefined;
  readonly count: number;
}

interface Outstanding extends SentMessage {
  transmissions: number;
  timer: NodeJS.Timeout;
  readonly settle: (acknowledged: boolean) => void;
}

const MAX_OUTSTANDING = 1000;
/** Code of the close frame of a peer that got a message which is too large for it (RFC 6455, 7.4.1). */
const TOO_LARGE = 1009;
/** A unit that has so much to read and does not read it is cut off: what waits is sent again when it comes. */
const MAX_UNREAD_BYTES = 32 * 1024 * 1024;
/** A unit that was never heard within this many ping intervals is gone (spec/decisions.md C-12). */
const SILENT_INTERVALS = 2.5;

export class UnitSession {
  readonly systemId: string;
  readonly #options: SessionOptions;
  readonly #outstanding = new Map<string, Outstanding>();
  readonly #pingTimer: NodeJS.Timeout;
  #handler: MessageHandler | undefined;
  #disturbance: Disturbance | undefined;
  /** After so many more messages, receipts included, nothing passes any more. */
  #messagesLeft = Number.POSITIVE_INFINITY;
  /** Messages are handled one after the other, and so is what the unit is told of what it should be. */
  #work: Promise<void> = Promise.resolve();
  #lastHeardMs = performance.now();
  #closed = false;

  constructor(options: SessionOptions) {
    this.systemId = options.systemId;
    this.#options = options;
    const { socket, times } = options;
    this.#pingTimer = setInterval(() => this.#ping(), times.pingIntervalMs);
    this.#pingTimer.unref();
    socket.on('pong', () => this.#heard());
    socket.on('ping', () => {
      this.#heard();
      // It is answered by `ws` itself.
      this.#cutWhoDoesNotRead();
    });
    socket.on('message', (data) => {
      this.#heard();
      const frame = Buffer.isBuffer(data) ? data : Buffer.concat([data].flat() as Uint8Array[]);
      // A unit that sends faster than its messages are handled waits in its own socket.
      socket.pause();
      if (!this.#passes()) return;
      // The last message that passes is handled, and its receipt does not pass.
      const isLast = this.#messagesLeft === 0;
      this.step(() => this.#receive(frame))
        .catch((error) => options.logger.error({ error: asAosError(error).message }, 'a frame was not handled'))
        .finally(() => (isLast ? this.cut() : socket.resume()));
    });
    socket.on('error', (error) => options.logger.warn({ error: error.message }, 'the link of a unit failed'));
    socket.on('close', (code) => {
      if (code === TOO_LARGE) options.onTooLarge?.(this.#largest());
      this.#end();
    });
  }

  /** Begins to handle messages; those that came before wait. */
  serve(handler: MessageHandler): void {
    this.#handler = handler;
  }

  get closed(): boolean {
    return this.#closed;
  }

  disturb(disturbance: Disturbance | undefined): void {
    this.#disturbance = disturbance;
  }

  /**
   * Cuts the connection when so many more messages have passed, whatever their direction; receipts count. What is on its
   * way when the last one has passed never arrives. For tests of units.
   */
  cutAfter(messages: number): void {
    this.#messagesLeft = messages;
    if (messages === 0) this.cut();
  }

  /**
   * Does something between two messages of the unit. What is read there and sent is no older than what was sent before:
   * two steps never overtake each other. A step must not wait for an acknowledgement, nor for another step.
   */
  step<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#work.then(work);
    // Whoever has asked hears of the failure.
    this.#work = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  /**
   * Sends a message; answers true when the unit has acknowledged it, false when it never did. Throws
   * `invalidArgument` for a message that does not fit its schema, `wrongState` when the unit is gone.
   */
  send(
    message: CloudMessage,
    txn: string = randomUUID(),
  ): { readonly txn: string; readonly acknowledged: Promise<boolean> } {
    const { now } = this.#options;
    if (this.#closed) throw new AosError('wrongState', `unit ${this.systemId} is offline`);
    if (this.#outstanding.size >= MAX_OUTSTANDING) {
      throw new AosError(
        'noMemory',
        `unit ${this.systemId} has ${MAX_OUTSTANDING} messages that it did not acknowledge`,
      );
    }
    const createdAt = now();
    const frame = encodeEnvelope({ txn, systemId: this.systemId, createdAt, data: message });
    const { messageType } = message;
    this.#note({ at: createdAt, direction: 'sent', messageType, txn, outcome: 'sent', data: message });
    const acknowledged = new Promise<boolean>((settle) => {
      const timer = setTimeout(() => this.#sendAgain(txn), this.#options.times.ackTimeoutMs);
      this.#outstanding.set(txn, { frame, messageType, transmissions: 1, timer, settle });
    });
    this.#write(frame);
    return { txn, acknowledged };
  }

  /** Whether the unit on this connection answers within so many milliseconds. */
  isAlive(timeoutMs: number): Promise<boolean> {
    const { socket } = this.#options;
    if (this.#closed || socket.readyState !== socket.OPEN) return Promise.resolve(false);
    return new Promise((resolve) => {
      const answer = (alive: boolean) => {
        clearTimeout(timer);
        socket.off('pong', heard);
        socket.off('close', gone);
        resolve(alive && !this.#closed);
      };
      const heard = () => answer(true);
      const gone = () => answer(false);
      const timer = setTimeout(gone, timeoutMs);
      socket.on('pong', heard);
      socket.on('close', gone);
      socket.ping();
    });
  }

  /** Ends the connection; the reason goes into the close frame. */
  close(code: number, reason: string): void {
    this.#options.socket.close(code, reason);
    // A unit that does not answer the close frame is cut off by `ws` itself after 30 s; nobody waits for that here.
    this.#end();
  }

  /** Ends the connection and waits for its end, at most so long; then cuts it. */
  async finish(code: number, reason: string, patienceMs: number): Promise<void> {
    const { socket } = this.#options;
    if (socket.readyState === socket.CLOSED) return;
    const gone = once(socket, 'close');
    this.close(code, reason);
    const timer = setTimeout(() => socket.terminate(), patienceMs);
    await gone;
    clearTimeout(timer);
  }

  #largest(): SentMessage | undefined {
    const waiting = [...this.#outstanding.values()];
    return waiting.reduce<SentMessage | undefined>(
      (largest, one) => (largest && largest.frame.length >= one.frame.length ? largest : one),
      undefined,
    );
  }

  /** Cuts the connection without a word. */
  cut(): void {
    this.#options.socket.terminate();
    this.#end();
  }

  async #receive(frame: Buffer): Promise<void> {
    if (this.#closed) return;
    const { logger } = this.#options;
    let envelope: Envelope<UnitMessage>;
    try {
      envelope = decodeUnitMessage(frame, { systemId: this.systemId });
    } catch (error) {
      await this.#refuse(frame, asAosError(error));
      return;
    }
    const { data: message, header } = envelope;
    if (message.messageType === 'ack') {
      this.#settle(header.txn, true);
      return;
    }
    try {
      if (this.#disturbs(message, header.txn)) return;
      const isNew = await this.#store(message, header.txn);
      this.#acknowledge(header.txn);
      if (isNew) await this.#handler?.react(message);
    } catch (error) {
      logger.error({ messageType: message.messageType, error: asAosError(error).message }, 'a message was not handled');
    }
  }

  /** False for a repetition (spec/cloud-protocol.md 6.2): it is acknowledged, and that is all. */
  #store(message: UnitMessage, txn: string): Promise<boolean> {
    const { database, now } = this.#options;
    const { messageType } = message;
    return database.writeTogether(async (stores) => {
      const { messages } = stores;
      if (txn !== '' && (await messages.hasReceived(this.systemId, txn))) return false;
      const head = { at: now(), direction: 'received', messageType, txn, outcome: 'received' } as const;
      await messages.add(this.systemId, { ...head, data: message });
      await this.#handler?.store(message, stores);
      return true;
    });
  }

  #note(message: NewMessage): void {
    this.#options.database.note('a message', ({ messages }) => messages.add(this.systemId, message));
  }

  /**
   * What cannot be read is kept for a person to look at. It is acknowledged where its txn can be read: the unit would
   * repeat it, and the repetition would be as bad (spec/cloud-protocol.md 10). The next message waits until it is kept: a
   * unit that sends nonsense faster than the database takes it must not fill the memory.
   */
  async #refuse(frame: Buffer, error: AosError): Promise<void> {
    const { database, events, now, logger } = this.#options;
    const txn = peekTxn(frame);
    logger.warn({ txn, error: error.message }, 'a message of a unit is refused');
    const head = { at: now(), direction: 'received', txn, outcome: 'refused', detail: error.message } as const;
    const data = frame.toString('utf8');
    await database.writeTogether(({ messages }) => messages.add(this.systemId, { ...head, data }));
    events.publish(this.systemId, 'refused', { detail: error.message });
    if (txn !== undefined) this.#acknowledge(txn);
  }

  #disturbs(message: UnitMessage, txn: string): boolean {
    const disturbance = this.#disturbance;
    if (!disturbance || (disturbance.messageType ?? message.messageType) !== message.messageType) return false;
    const count = disturbance.count - 1;
    this.#disturbance = count > 0 ? { ...disturbance, count } : undefined;
    const { now } = this.#options;
    const { messageType } = message;
    const detail = disturbance.answer === 'nack' ? 'answered by nack, as asked' : 'not answered, as asked';
    this.#note({
      ...{ at: now(), direction: 'received', messageType, txn, outcome: 'refused', detail },
      data: message,
    });
    if (disturbance.answer === 'nack') {
      const { retryAfter } = disturbance;
      this.#answer(txn, { messageType: 'nack', ...(retryAfter !== undefined && { retryAfter }) });
    }
    return true;
  }

  #acknowledge(txn: string): void {
    this.#answer(txn, { messageType: 'ack' });
  }

  #answer(txn: string, data: CloudMessage): void {
    this.#write(encodeEnvelope({ txn, systemId: this.systemId, createdAt: this.#options.now(), data }));
  }

  /** Sends bytes that are no message of this cloud; nobody waits for an acknowledgement. For tests of units. */
  sendFrame(frame: Buffer): void {
    this.#write(frame);
  }

  #write(frame: Buffer): void {
    if (this.#closed || !this.#passes()) return;
    const isLast = this.#messagesLeft === 0;
    // One binary frame, whole and not compressed: 9.1 takes nothing else (spec/cloud-protocol.md 3.2).
    this.#options.socket.send(frame, { binary: true, compress: false, fin: true }, () => {
      if (isLast) this.cut();
    });
    this.#cutWhoDoesNotRead();
  }

  #cutWhoDoesNotRead(): void {
    const { socket, logger } = this.#options;
    if (socket.bufferedAmount <= MAX_UNREAD_BYTES) return;
    logger.warn({ bytes: socket.bufferedAmount }, 'a unit does not read what it is sent; its link is cut');
    this.cut();
  }

  /** Whether one more message may pass, which it does then. */
  #passes(): boolean {
    if (this.#messagesLeft <= 0) return false;
    this.#messagesLeft -= 1;
    return true;
  }

  #sendAgain(txn: string): void {
    const entry = this.#outstanding.get(txn);
    if (!entry) return;
    const { ackTimeoutMs, transmissions } = this.#options.times;
    if (entry.transmissions >= transmissions) {
      this.#settle(txn, false);
      return;
    }
    entry.transmissions += 1;
    entry.timer = setTimeout(() => this.#sendAgain(txn), ackTimeoutMs);
    this.#write(entry.frame);
  }

  #settle(txn: string, acknowledged: boolean): void {
    const entry = this.#outstanding.get(txn);
    if (!entry) return;
    this.#outstanding.delete(txn);
    clearTimeout(entry.timer);
    const { database, events, logger } = this.#options;
    const { messageType } = entry;
    const outcome = acknowledged ? 'acknowledged' : 'unacknowledged';
    database.note('the outcome of a message', ({ messages }) => messages.setOutcome(this.systemId, txn, outcome));
    if (!acknowledged) logger.warn({ messageType, txn }, 'a unit did not acknowledge a message');
    events.publish(this.systemId, outcome, { messageType, txn });
    entry.settle(acknowledged);
  }

  #heard(): void {
    this.#lastHeardMs = performance.now();
  }

  #ping(): void {
    const { socket, times, logger } = this.#options;
    const silentMs = performance.now() - this.#lastHeardMs;
    if (silentMs > times.pingIntervalMs * SILENT_INTERVALS) {
      logger.warn({ silentMs: Math.round(silentMs) }, 'a unit is silent; its link is cut');
      this.cut();
      return;
    }
    socket.ping();
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#pingTimer);
    for (const txn of [...this.#outstanding.keys()]) this.#settle(txn, false);
  }
}
