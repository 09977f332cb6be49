/** Calls of local programs, carried over the call channel (spec/decisions.md 3.3). */
import { create, type DescMethod, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import * as proxy from '../../api/gen/aosproxy/v1/aosproxy_pb.js';
import { AosError, asAosError, Mailbox } from '../../core/index.ts';
import type { MessageChannel } from '../wire/index.ts';

const MAX_QUEUED_REPLIES = 256;

export interface CallClientOptions {
  readonly open: () => Promise<MessageChannel>;
}

export class CallClient {
  readonly #options: CallClientOptions;
  readonly #calls = new Map<bigint, Mailbox<proxy.ProxyReply>>();
  #channel: Promise<MessageChannel> | undefined;
  #lastId = 0n;

  constructor(options: CallClientOptions) {
    this.#options = options;
  }

  async unary<M extends DescMethod>(
    method: M,
    request: MessageShape<M['input']>,
    signal: AbortSignal,
  ): Promise<MessageShape<M['output']>> {
    for await (const response of this.stream(method, request, signal)) return response;
    throw new ConnectError('the call ended without an answer', Code.Internal);
  }

  /** Throws a `ConnectError` with the status of the CM, or UNAVAILABLE when the channel breaks. */
  async *stream<M extends DescMethod>(
    method: M,
    request: MessageShape<M['input']>,
    signal: AbortSignal,
  ): AsyncGenerator<MessageShape<M['output']>> {
    const channel = await this.#open();
    this.#lastId += 1n;
    const callId = this.#lastId;
    const replies = new Mailbox<proxy.ProxyReply>(MAX_QUEUED_REPLIES);
    this.#calls.set(callId, replies);
    const onAbort = () => replies.fail(new ConnectError('canceled', Code.Canceled));
    signal.addEventListener('abort', onAbort, { once: true });
    let hasEnded = false;
    const send = (fields: object) =>
      channel.send(toBinary(proxy.ProxyCallSchema, create(proxy.ProxyCallSchema, { callId, ...fields })));
    try {
      if (signal.aborted) onAbort();
      await send({
        method: `/${method.parent.typeName}/${method.name}`,
        payload: toBinary(method.input, request),
      });
      for await (const { payload, end, status, message } of replies) {
        hasEnded = end;
        if (status !== 0) throw new ConnectError(message, status);
        if (!end || method.methodKind === 'unary')
          yield fromBinary(method.output, payload) as MessageShape<M['output']>;
        if (end) return;
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#calls.delete(callId);
      // A channel that is closed has forgotten the call.
      if (!hasEnded) await send({ cancel: true }).catch(() => undefined);
    }
  }

  async #open(): Promise<MessageChannel> {
    this.#channel ??= this.#begin();
    try {
      return await this.#channel;
    } catch (error) {
      this.#channel = undefined;
      throw new ConnectError(asAosError(error).message, Code.Unavailable);
    }
  }

  async #begin(): Promise<MessageChannel> {
    const channel = await this.#options.open();
    void this.#read(channel);
    return channel;
  }

  /** Never rejects. */
  async #read(channel: MessageChannel): Promise<void> {
    try {
      for await (const body of channel.messages()) {
        const reply = fromBinary(proxy.ProxyReplySchema, body);
        this.#calls.get(reply.callId)?.push(reply);
      }
    } catch (error) {
      channel.close(asAosError(error));
    }
    this.#channel = undefined;
    const why = asAosError(channel.closed.reason ?? new AosError('eof', 'the call channel was closed')).message;
    for (const replies of this.#calls.values()) replies.fail(new ConnectError(why, Code.Unavailable));
  }
}
