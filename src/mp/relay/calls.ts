/** Unary and streaming calls of a node without IP, on the call channel (spec/decisions.md 3.3). */
import { create, type DescMethod, type DescService, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { network, sm } from '../../api/contracts.ts';
import * as proxy from '../../api/gen/aosproxy/v1/aosproxy_pb.js';
import { type Channel, UNARY_DEADLINE_MS } from '../../api/index.ts';
import { AosError, asAosError, canceledBy } from '../../core/index.ts';
import { MAX_OPEN_CALLS } from '../numbers.ts';
import type { KnownUrls } from './known-urls.ts';
import type { PeerIdentity } from './peer-identity.ts';

export interface CallsOptions {
  /** The channel to the CM. */
  readonly channel: () => Promise<Channel>;
  readonly identity: PeerIdentity;
  readonly urls: KnownUrls;
  readonly send: (reply: proxy.ProxyReply) => Promise<void>;
}

interface Allowed {
  readonly service: DescService;
  readonly method: DescMethod;
}

const pathOf = (service: DescService, method: DescMethod) => `/${service.typeName}/${method.name}`;

/** What a peer may call, by its full path. */
export function allowedCalls(): ReadonlyMap<string, Allowed> {
  const blobs = { service: sm.SMService, method: sm.SMService.method.getBlobsInfos };
  const networks = network.NetworkService.methods.map((method) => ({ service: network.NetworkService, method }));
  return new Map([blobs, ...networks].map((allowed) => [pathOf(allowed.service, allowed.method), allowed]));
}

const ALLOWED = allowedCalls();

type Untyped = (request: object, options: { signal: AbortSignal; timeoutMs?: number }) => unknown;

export class Calls {
  readonly #options: CallsOptions;
  readonly #open = new Map<bigint, AbortController>();

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  /**
   * Begins or cancels a call; answers of it are sent when they come. Resolves at once, but for a call too many: when its
   * refusal has left, so that a peer that does not listen says no more either.
   */
  async take(call: proxy.ProxyCall): Promise<void> {
    const open = this.#open.get(call.callId);
    if (call.cancel) {
      open?.abort(new AosError('canceled', 'canceled by the peer'));
      return;
    }
    if (open) {
      // Two calls of one number could not be told apart; neither is of use any more.
      open.abort(new AosError('canceled', 'its number was used again'));
      return;
    }
    if (this.#open.size >= MAX_OPEN_CALLS) {
      await this.#refuse(call.callId, Code.ResourceExhausted, `${MAX_OPEN_CALLS} calls are open already`);
      return;
    }
    const abort = new AbortController();
    this.#open.set(call.callId, abort);
    void this.#run(call, abort.signal).finally(() => this.#open.delete(call.callId));
  }

  /** Ends all calls: the channel is gone. */
  close(): void {
    for (const abort of this.#open.values()) abort.abort(new AosError('canceled', 'the channel was closed'));
  }

  /** Never rejects. */
  async #run({ callId, method, payload }: proxy.ProxyCall, signal: AbortSignal): Promise<void> {
    const reply = (fields: Omit<Parameters<typeof create<typeof proxy.ProxyReplySchema>>[1] & object, '$typeName'>) =>
      this.#options.send(create(proxy.ProxyReplySchema, { ...fields, callId } as object));
    try {
      const allowed = ALLOWED.get(method);
      if (!allowed) throw new ConnectError(`${method} is not carried by the proxy`, Code.Unimplemented);
      const request = this.#request(allowed, payload);
      for await (const response of this.#call(allowed, request, signal)) {
        this.#learn(allowed, response);
        const end = allowed.method.methodKind === 'unary';
        await reply({ payload: toBinary(allowed.method.output, response), end });
        if (end) return;
      }
      await reply({ end: true });
    } catch (error) {
      const { code, rawMessage } = toStatus(error, signal);
      await this.#refuse(callId, code, rawMessage);
    }
  }

  /** A channel that is closed hears nothing any more. */
  async #refuse(callId: bigint, status: Code, message: string): Promise<void> {
    const reply = create(proxy.ProxyReplySchema, { callId, end: true, status, message });
    await this.#options.send(reply).catch(() => undefined);
  }

  /** The request as the CM gets it: in the name of the peer's node and of no other. */
  #request({ method }: Allowed, payload: Uint8Array): Message {
    const request = fromBinary(method.input, payload) as Message & { nodeId?: string };
    if (request.nodeId === undefined) return request;
    const { nodeId } = this.#options.identity;
    if (nodeId === undefined) throw new ConnectError('the peer has not named itself', Code.FailedPrecondition);
    if (request.nodeId !== '' && request.nodeId !== nodeId) {
      throw new ConnectError(`the peer is node "${nodeId}", not "${request.nodeId}"`, Code.PermissionDenied);
    }
    request.nodeId = nodeId;
    return request;
  }

  async *#call({ service, method }: Allowed, request: Message, signal: AbortSignal): AsyncGenerator<Message> {
    const channel = await this.#options.channel();
    if (signal.aborted) throw canceledBy(signal);
    const client = channel.client(service) as unknown as Record<string, Untyped>;
    const invoke = client[method.localName]!;
    if (method.methodKind === 'unary') {
      yield (await invoke(request, { signal, timeoutMs: UNARY_DEADLINE_MS })) as Message;
    } else {
      yield* invoke(request, { signal }) as AsyncIterable<Message>;
    }
  }

  #learn({ method }: Allowed, response: Message): void {
    if (method !== sm.SMService.method.getBlobsInfos) return;
    this.#options.urls.add((response as sm.BlobsInfos).urls);
  }
}

function toStatus(error: unknown, signal: AbortSignal): ConnectError {
  if (signal.aborted) return new ConnectError(canceledBy(signal).message, Code.Canceled);
  if (error instanceof ConnectError) return error;
  const aos = asAosError(error);
  return new ConnectError(aos.message, aos.code === 'failed' ? Code.Unavailable : Code.Internal);
}
