/** The streams of all nodes at the main node: who may register where, and how requests reach them (spec/iam.md 14). */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { iam } from '../../api/contracts.ts';
import { AosError, asAosError, type Clock, type Logger, type NodeState } from '../../core/index.ts';
import {
  MAX_ID_LENGTH,
  MAX_NODE_STREAMS,
  MAX_UNPROVISIONED_NODES,
  NEW_NODE_INTERVAL_MS,
  RELAY_PAUSE_MS,
  RELAY_TRIES,
} from '../limits.ts';
import { type NodeInfo, readNodeInfo } from '../node-info.ts';
import type { NodeRegistry, RegistryEntry } from './node-registry.ts';
import {
  type AnswerKind,
  type AnswerOf,
  NOT_REACHED,
  type NodeRequest,
  NodeStream,
  wasNotReached,
} from './node-stream.ts';

export type ServerKind = 'public' | 'protected';

export interface NodeLinksOptions {
  readonly ownNodeId: string;
  readonly registry: NodeRegistry;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Why a node may not be admitted here, or undefined (spec/iam.md 14.1, spec/decisions.md IA-23). On the public server
 * nobody has proven anything, so it takes blank nodes only, and none that the unit has as its own.
 */
export function refuseNode(
  info: Pick<NodeInfo, 'nodeId' | 'state'>,
  server: ServerKind,
  ownNodeId: string,
  known: NodeState | undefined,
): string | undefined {
  if (info.nodeId === ownNodeId) return 'it has the id of the main node';
  if (server === 'protected') {
    return info.state === 'unprovisioned' ? 'an unprovisioned node registers at the public server' : undefined;
  }
  if (info.state !== 'unprovisioned') return `a node that is ${info.state} registers at the protected server`;
  if (known !== undefined && known !== 'unprovisioned') {
    return `the unit has it as ${known}; deprovision it, or let the main node forget it`;
  }
  return undefined;
}

export class NodeLinks {
  readonly #options: NodeLinksOptions;
  /** Apart by server: strangers at the public one take no room from the nodes of the unit. */
  readonly #streams: Readonly<Record<ServerKind, Set<NodeStream>>> = { public: new Set(), protected: new Set() };
  readonly #byNode = new Map<string, NodeStream>();
  /** The last relay to each node; the next one waits for it. */
  readonly #turns = new Map<string, Promise<unknown>>();
  #nextNewNodeMs = Number.NEGATIVE_INFINITY;

  constructor(options: NodeLinksOptions) {
    this.#options = options;
  }

  /** Serves one stream until either side ends it. */
  async *serve(
    messages: AsyncIterable<iam.IAMOutgoingMessages>,
    server: ServerKind,
    signal: AbortSignal,
  ): AsyncGenerator<MessageInitShape<typeof iam.IAMIncomingMessagesSchema>> {
    const streams = this.#streams[server];
    if (streams.size >= MAX_NODE_STREAMS) {
      throw new AosError('noMemory', `${MAX_NODE_STREAMS} streams of nodes are open at this server already`);
    }
    const stream = new NodeStream();
    streams.add(stream);
    const onAbort = () => stream.close();
    signal.addEventListener('abort', onAbort, { once: true });
    let failure: unknown;
    // Not waited for: a node that was superseded may go on talking.
    this.#read(stream, messages, server, signal).then(
      () => stream.close(),
      (error: unknown) => {
        failure = error;
        stream.close();
      },
    );
    try {
      yield* stream.requests;
    } finally {
      signal.removeEventListener('abort', onAbort);
      stream.close();
      streams.delete(stream);
      this.#unlink(stream);
    }
    if (failure !== undefined && !signal.aborted) throw asAosError(failure);
  }

  /**
   * Sends a request to a node and answers what it says; waits at most `timeoutMs` per try. A node without stream is
   * asked three times, since it may be reconnecting; a request that may have arrived is never repeated. A node that the
   * unit does not have is refused at once.
   */
  relay<K extends AnswerKind>(
    nodeId: string,
    request: NodeRequest,
    kind: K,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<AnswerOf<K>> {
    const { registry } = this.#options;
    if (!registry.find(nodeId)) {
      const known = registry.list().map(({ info }) => info.nodeId);
      return Promise.reject(
        new AosError(
          'notFound',
          `node "${nodeId.slice(0, MAX_ID_LENGTH)}" is unknown; the unit has ${known.join(', ')}`,
        ),
      );
    }
    const previous = this.#turns.get(nodeId) ?? Promise.resolve();
    const work = previous.then(() => this.#tryRelay(nodeId, request, kind, timeoutMs, signal));
    const done = work.then(
      () => undefined,
      () => undefined,
    );
    this.#turns.set(nodeId, done);
    void done.then(() => {
      if (this.#turns.get(nodeId) === done) this.#turns.delete(nodeId);
    });
    return work;
  }

  /** Ends all streams. */
  close(): void {
    for (const stream of [...this.#streams.public, ...this.#streams.protected]) stream.close();
  }

  async #tryRelay<K extends AnswerKind>(
    nodeId: string,
    request: NodeRequest,
    kind: K,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<AnswerOf<K>> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const stream = this.#byNode.get(nodeId);
        if (!stream) {
          throw new AosError('failed', `node "${nodeId}" is not connected: stream not found`, { fields: NOT_REACHED });
        }
        return await stream.request(request, kind, timeoutMs, signal);
      } catch (error) {
        if (!wasNotReached(error) || attempt >= RELAY_TRIES) throw error;
        this.#options.logger.warn({ nodeId, attempt, request: request.case }, 'the node was not reached; trying again');
        await this.#options.clock.sleep(RELAY_PAUSE_MS, signal);
      }
    }
  }

  async #read(
    stream: NodeStream,
    messages: AsyncIterable<iam.IAMOutgoingMessages>,
    server: ServerKind,
    signal: AbortSignal,
  ): Promise<void> {
    for await (const { IAMOutgoingMessage: message } of messages) {
      if (message.case === 'nodeInfo') await this.#admit(stream, readNodeInfo(message.value), server, signal);
      else if (message.case !== undefined && !stream.accept(message)) {
        this.#options.logger.info({ kind: message.case }, 'an answer of a node came when nobody waited for it');
      }
    }
  }

  async #admit(stream: NodeStream, info: NodeInfo, server: ServerKind, signal: AbortSignal): Promise<void> {
    const { registry, logger } = this.#options;
    if (this.#refuse(stream, info, server)) return;
    if (!registry.find(info.nodeId)) {
      await this.#paceNewNodes(signal);
      // The node may have registered elsewhere meanwhile, as one of the unit.
      if (this.#refuse(stream, info, server)) return;
    }
    // Registered by a stream that nobody reads any more, it would be connected for ever.
    if (stream.closed) return;
    const older = this.#byNode.get(info.nodeId);
    if (older !== stream) this.#unlink(stream);
    this.#byNode.set(info.nodeId, stream);
    if (older && older !== stream) older.close();
    try {
      registry.set(info, true);
    } catch (error) {
      // The older stream is closed already, so the node has none.
      this.#unlink(stream);
      throw error;
    }
    logger.info({ nodeId: info.nodeId, state: info.state, server }, 'a node is registered');
  }

  /** True for a node that may not register here; the stream has no node then. */
  #refuse(stream: NodeStream, info: NodeInfo, server: ServerKind): boolean {
    const { registry, ownNodeId, logger } = this.#options;
    const reason = refuseNode(info, server, ownNodeId, registry.find(info.nodeId)?.info.state);
    if (reason === undefined) return false;
    logger.warn({ nodeId: info.nodeId, state: info.state, server, reason }, 'a node was not admitted');
    this.#unlink(stream);
    return true;
  }

  /** One unknown node per second: others wait their turn, too many are sent away and come again. */
  async #paceNewNodes(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const nowMs = clock.monotonicMs();
    const turnMs = Math.max(nowMs, this.#nextNewNodeMs);
    if (turnMs - nowMs > MAX_UNPROVISIONED_NODES * NEW_NODE_INTERVAL_MS) {
      throw new AosError('noMemory', 'too many new nodes register at once');
    }
    this.#nextNewNodeMs = turnMs + NEW_NODE_INTERVAL_MS;
    if (turnMs > nowMs) await clock.sleep(turnMs - nowMs, signal);
  }

  /** A superseded stream has no node any more, so its end says nothing about one. */
  #unlink(stream: NodeStream): void {
    for (const [nodeId, linked] of this.#byNode) {
      if (linked !== stream) continue;
      this.#byNode.delete(nodeId);
      const entry: RegistryEntry | undefined = this.#options.registry.find(nodeId);
      if (entry) this.#options.registry.setConnected(nodeId, false);
      this.#options.logger.info({ nodeId }, 'a node is not connected any more');
    }
  }
}
