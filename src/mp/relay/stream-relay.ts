/** Carries one gRPC stream over one channel (spec/mp.md 9 to 11, spec/decisions.md 3.1). */
import type { Channel } from '../../api/index.ts';
import { asAosError, type Clock, type Logger } from '../../core/index.ts';
import { STREAM_RETRY_MS } from '../numbers.ts';
import type { MessageChannel } from '../wire/index.ts';
import type { GrpcTarget } from './grpc-target.ts';
import { Outbox } from './outbox.ts';

/** What is kept of the peer's messages for gRPC streams to come. */
export interface StreamMemory<Out> {
  /** Takes note of a message, whether or not there is a stream; throws when the peer must not go on. */
  note(message: Out): void;
  /** A message that came while there was no stream. */
  hold(message: Out): void;
  /** What goes first on a new stream. */
  replay(): Out[];
}

export interface StreamRelayOptions<Out, In> {
  readonly channel: MessageChannel;
  readonly target: GrpcTarget;
  readonly open: (channel: Channel, outgoing: AsyncIterable<Out>, signal: AbortSignal) => AsyncIterable<In>;
  /** What goes on for a message of the peer; throws for one that ends the channel. */
  readonly fromPeer: (body: Buffer) => Out[];
  readonly toPeer: (message: In) => Uint8Array;
  readonly memory: StreamMemory<Out>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Relays until the channel is closed; the gRPC stream then ends too. It is opened when the peer has said something, and
 * again whenever it breaks.
 */
export async function relayStream<Out, In>(options: StreamRelayOptions<Out, In>): Promise<void> {
  const { channel, memory, fromPeer } = options;
  const introduced = Promise.withResolvers<void>();
  const relay = new Relay(options);
  const onClosed = () => introduced.resolve();
  channel.closed.addEventListener('abort', onClosed, { once: true });
  // It may be over before anybody looks at it.
  if (channel.closed.aborted) onClosed();
  const streaming = introduced.promise.then(() => relay.stream());
  try {
    for await (const body of channel.messages()) {
      for (const message of fromPeer(body)) {
        memory.note(message);
        await relay.pass(message, body.length);
        introduced.resolve();
      }
    }
  } catch (error) {
    channel.close(asAosError(error));
    throw error;
  } finally {
    await streaming;
  }
}

class Relay<Out, In> {
  readonly #options: StreamRelayOptions<Out, In>;
  #outbox: Outbox<Out> | undefined;

  constructor(options: StreamRelayOptions<Out, In>) {
    this.#options = options;
  }

  async pass(message: Out, sizeBytes: number): Promise<void> {
    if (this.#outbox) await this.#outbox.put(message, sizeBytes);
    else this.#options.memory.hold(message);
  }

  async stream(): Promise<void> {
    const { channel, clock } = this.#options;
    while (!channel.closed.aborted) {
      await this.#streamOnce();
      if (channel.closed.aborted) return;
      await clock.sleep(STREAM_RETRY_MS, channel.closed).catch(() => undefined);
    }
  }

  async #streamOnce(): Promise<void> {
    const { channel, target, open, toPeer, memory } = this.#options;
    const ended = new AbortController();
    const signal = AbortSignal.any([channel.closed, ended.signal]);
    let worked = false;
    let failure: unknown;
    try {
      const grpc = await target.channel();
      const outbox = new Outbox<Out>();
      // Bounded by the memory, and not by the box.
      for (const message of memory.replay()) void outbox.put(message, 0);
      this.#outbox = outbox;
      for await (const message of open(grpc, outbox, signal)) {
        worked = true;
        await channel.send(toPeer(message));
      }
    } catch (error) {
      if (!channel.closed.aborted) failure = error;
    } finally {
      this.#outbox?.close();
      this.#outbox = undefined;
      ended.abort();
      await target.ended(worked || channel.closed.aborted, failure);
    }
  }
}
