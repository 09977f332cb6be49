/** The channels of one connection between proxy and peer (spec/mp.md 6 to 8, spec/decisions.md 3.2, 3.4). */
import type { Duplex } from 'node:stream';
import { AosError, asAosError, type Clock, type Logger, Mailbox } from '../../core/index.ts';
import { MAX_BAD_CHECKSUMS_PER_MINUTE, STALL_MS } from '../numbers.ts';
import { type ChannelCarrier, ChannelStream } from './channel-stream.ts';
import { FrameReader, frameHeader, MAX_FRAME_DATA_BYTES, type ReadFrame } from './frame.ts';
import { goesOnFromHello, isApplicationData, isClientHello, splitRecords } from './tls-records.ts';

export interface PortOptions {
  readonly port: number;
  readonly secure: boolean;
  /** Its frames wait while any other port has some. */
  readonly background?: boolean;
}

export interface MultiplexerOptions {
  readonly stream: Duplex;
  readonly ports: readonly PortOptions[];
  /** `server`: channels come about by what the peer sends; `client`: by `open`. */
  readonly side: 'server' | 'client';
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What was received and not delivered. */
export interface DropCounts {
  badChecksum: number;
  unknownPort: number;
  noChannel: number;
}

interface Port extends PortOptions {
  readonly incoming: Mailbox<ChannelStream>;
  readonly waiting: { readonly frames: Buffer[]; readonly done: (error?: Error | null) => void }[];
  channel: ChannelStream | undefined;
}

/** Channels that began and that nobody has taken yet, per port. */
const MAX_UNTAKEN = 4;
const MINUTE_MS = 60_000;

export class Multiplexer implements ChannelCarrier {
  readonly dropped: DropCounts = { badChecksum: 0, unknownPort: 0, noChannel: 0 };
  readonly #options: MultiplexerOptions;
  readonly #ports: ReadonlyMap<number, Port>;
  readonly #reader = new FrameReader();
  /** Channels whose buffer is full, and what ends them when it stays so. */
  readonly #full = new Map<ChannelStream, NodeJS.Timeout>();
  readonly #badChecksumsMs: number[] = [];
  readonly #ended = Promise.withResolvers<AosError>();
  /** Ports in the order of their next turn. */
  #turns: Port[];
  #isCongested = false;
  #lastArrivalMs: number;
  #end: AosError | undefined;

  constructor(options: MultiplexerOptions) {
    this.#options = options;
    const ports = options.ports.map((port) => ({
      ...port,
      incoming: new Mailbox<ChannelStream>(MAX_UNTAKEN),
      waiting: [],
      channel: undefined,
    }));
    this.#ports = new Map(ports.map((port) => [port.port, port]));
    this.#turns = ports;
    const { stream, clock } = options;
    this.#lastArrivalMs = clock.monotonicMs();
    stream.on('data', (chunk: Buffer) => {
      this.#lastArrivalMs = clock.monotonicMs();
      this.#receive(chunk);
    });
    stream.on('drain', () => this.#decongest());
    stream.once('end', () => this.close(new AosError('eof', 'the other side closed the connection')));
    stream.once('error', (error) => this.close(asAosError(error, 'the connection broke')));
    stream.once('close', () => this.close(new AosError('eof', 'the connection was closed')));
  }

  /** Why the connection ended; never rejects. */
  get ended(): Promise<AosError> {
    return this.#ended.promise;
  }

  /** How long nothing has arrived; a connection that is not read at the moment is not silent. */
  get silentMs(): number {
    const { stream, clock } = this.#options;
    return stream.isPaused() ? 0 : clock.monotonicMs() - this.#lastArrivalMs;
  }

  get isOpen(): boolean {
    return this.#end === undefined;
  }

  /** The channels that the peer begins on a port, one after another; ends with the connection. */
  incoming(port: number): AsyncIterable<ChannelStream> {
    return this.#port(port).incoming;
  }

  /** Begins a channel, in place of the one that the port had. Throws what ended the connection. */
  open(port: number): ChannelStream {
    if (this.#end) throw this.#end;
    const known = this.#port(port);
    known.channel?.destroy(new AosError('canceled', 'the channel was opened anew'));
    known.channel = new ChannelStream(port, this);
    return known.channel;
  }

  /** Ends the connection and every channel. */
  close(reason: AosError): void {
    if (this.#end) return;
    this.#end = reason;
    for (const port of this.#ports.values()) {
      port.channel?.destroy(reason);
      port.incoming.close();
      for (const { done } of port.waiting.splice(0)) done(reason);
    }
    this.#options.stream.destroy();
    this.#ended.resolve(reason);
  }

  send(port: number, data: Buffer, done: (error?: Error | null) => void): void {
    if (this.#end) {
      done(this.#end);
      return;
    }
    const known = this.#port(port);
    const frames = known.secure ? splitRecords(data, MAX_FRAME_DATA_BYTES) : splitPlain(data);
    // Its hello was accepted: the peer may give up before it has gone on, and begin anew.
    if (this.#options.side === 'server' && known.channel && frames.some(isApplicationData)) known.channel.begun = true;
    known.waiting.push({ frames, done });
    this.#pump();
  }

  drained(channel: ChannelStream): void {
    clearTimeout(this.#full.get(channel));
    if (this.#full.delete(channel) && this.#full.size === 0) this.#options.stream.resume();
  }

  closed(channel: ChannelStream): void {
    const port = this.#port(channel.port);
    if (port.channel === channel) port.channel = undefined;
    this.drained(channel);
  }

  #port(port: number): Port {
    const known = this.#ports.get(port);
    if (!known) throw new AosError('invalidArgument', `the connection has no port ${port}`);
    return known;
  }

  #receive(chunk: Buffer): void {
    let frames: ReadFrame[];
    try {
      frames = this.#reader.push(chunk);
    } catch (error) {
      this.close(asAosError(error));
      return;
    }
    for (const frame of frames) {
      if (this.#end) return;
      if (frame.kind === 'badChecksum') this.#countBadChecksum(frame.port);
      else this.#deliver(frame.port, frame.data);
    }
  }

  #countBadChecksum(port: number): void {
    const { clock, logger } = this.#options;
    const nowMs = clock.monotonicMs();
    this.dropped.badChecksum += 1;
    this.#badChecksumsMs.push(nowMs);
    while (this.#badChecksumsMs[0]! <= nowMs - MINUTE_MS) this.#badChecksumsMs.shift();
    logger.warn({ port }, 'a frame was dropped: its checksum is not that of its data');
    if (this.#badChecksumsMs.length <= MAX_BAD_CHECKSUMS_PER_MINUTE) return;
    const text = `more than ${MAX_BAD_CHECKSUMS_PER_MINUTE} frames with a wrong checksum within a minute`;
    this.close(new AosError('invalidChecksum', text));
  }

  #deliver(number: number, data: Buffer): void {
    const port = this.#ports.get(number);
    if (!port) {
      if (this.dropped.unknownPort === 0) this.#options.logger.warn({ port: number }, 'frames of an unknown port');
      this.dropped.unknownPort += 1;
      return;
    }
    const channel = this.#channelFor(port, data);
    if (!channel) {
      this.dropped.noChannel += 1;
      return;
    }
    if (data.length > 0 && !channel.push(data)) this.#stall(channel);
  }

  /** The channel that takes the data: the present one, or a new one that it begins. */
  #channelFor(port: Port, data: Buffer): ChannelStream | undefined {
    const present = port.channel;
    if (this.#options.side === 'client') {
      // What is left over of an earlier session would only spoil the handshake, which begins with another record.
      const leftOver = port.secure && present && !present.begun && isApplicationData(data);
      if (present && !leftOver) present.begun = true;
      return leftOver ? undefined : present;
    }
    const beginsAnew = port.secure && isClientHello(data) && (present === undefined || present.begun);
    if (present && !beginsAnew) {
      // The server may ask for another hello; whoever has gone on from there says hello for a new session.
      if (port.secure && goesOnFromHello(data)) present.begun = true;
      return present;
    }
    if (port.secure && !beginsAnew) return undefined;
    present?.destroy(new AosError('canceled', 'the peer began the channel anew'));
    if (port.incoming.size >= MAX_UNTAKEN) return undefined;
    port.channel = new ChannelStream(port.port, this);
    port.incoming.push(port.channel);
    return port.channel;
  }

  /** The protocol cannot stop one channel alone, so the transport is not read until there is room. */
  #stall(channel: ChannelStream): void {
    if (this.#full.has(channel)) return;
    const giveUp = () => {
      this.#options.logger.warn({ port: channel.port }, 'a channel is closed: its data was not taken');
      channel.destroy(new AosError('timeout', `nobody took the data of port ${channel.port} for ${STALL_MS / 1000} s`));
    };
    this.#full.set(channel, setTimeout(giveUp, STALL_MS));
    this.#options.stream.pause();
  }

  #decongest(): void {
    this.#isCongested = false;
    this.#pump();
  }

  /** Writes frame by frame, one port after another; background ports only when no other has any. */
  #pump(): void {
    const { stream } = this.#options;
    while (!this.#isCongested && !this.#end) {
      const port = this.#nextPort();
      if (!port) return;
      const { frames, done } = port.waiting[0]!;
      const data = frames.shift();
      if (data) {
        stream.cork();
        stream.write(frameHeader(port.port, data));
        this.#isCongested = !stream.write(data);
        stream.uncork();
      }
      if (frames.length > 0) continue;
      port.waiting.shift();
      done();
    }
  }

  #nextPort(): Port | undefined {
    const ready = this.#turns.filter(({ waiting }) => waiting.length > 0);
    const port = ready.find(({ background }) => !background) ?? ready[0];
    if (port) this.#turns = [...this.#turns.filter((other) => other !== port), port];
    return port;
  }
}

function splitPlain(data: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  for (let start = 0; start < data.length; start += MAX_FRAME_DATA_BYTES) {
    pieces.push(data.subarray(start, start + MAX_FRAME_DATA_BYTES));
  }
  return pieces;
}
