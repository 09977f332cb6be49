/** The gRPC server to which the service managers of all nodes connect (spec/cm.md 7.1, 7.2, 7.6). */
import type { ConnectRouter, HandlerContext } from '@connectrpc/connect';
import { sm } from '../../api/contracts.ts';
import { type Address, ApiServer, type ServerTls } from '../../api/index.ts';
import { AosError, asAosError, type Clock, canceledBy, type Logger, systemClock } from '../../core/index.ts';
import { NODES } from '../numbers.ts';
import { Event } from './event.ts';
import type {
  LogPart,
  LogRequest,
  NodeAlert,
  NodeConfigStatus,
  NodeConfigText,
  NodeConnection,
  NodeMonitoring,
  NodeStatuses,
  UpdateInstances,
} from './model.ts';
import type { NodeDirectory } from './node-directory.ts';
import {
  readAlert,
  readInstances,
  readLog,
  readMonitoring,
  readNodeConfigStatus,
  readSmInfo,
} from './read-messages.ts';
import { SmStream } from './sm-stream.ts';
import {
  connectionStatusMessage,
  logRequestMessage,
  type OutgoingMessage,
  updateInstancesMessage,
} from './write-messages.ts';

export interface SmControllerOptions {
  /** `cmServerUrl`. */
  readonly listen: string;
  readonly nodes: NodeDirectory;
  /** URLs of blobs in the order of the digests; throws `notFound`. */
  readonly blobUrls: (digests: readonly string[]) => Promise<readonly string[]>;
  /** Further services on the same port: NetworkService. */
  readonly routes?: (router: ConnectRouter) => void;
  readonly logger: Logger;
  readonly clock?: Clock;
}

/** Holds one stream per node, the newest (spec/decisions.md CM-54), and tells what arrives on it in its order. */
export class SmController {
  readonly #options: SmControllerOptions;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #streams = new Map<string, SmStream>();
  readonly #all = new Set<SmStream>();
  readonly #connections: Event<NodeConnection>;
  readonly #statuses: Event<NodeStatuses>;
  readonly #monitoring: Event<NodeMonitoring>;
  readonly #alerts: Event<NodeAlert>;
  readonly #logs: Event<LogPart>;
  #server: ApiServer | undefined;
  #cloudConnected = false;

  constructor(options: SmControllerOptions) {
    this.#options = options;
    this.#logger = options.logger;
    this.#clock = options.clock ?? systemClock;
    this.#connections = new Event('connections', this.#logger);
    this.#statuses = new Event('instance statuses', this.#logger);
    this.#monitoring = new Event('monitoring', this.#logger);
    this.#alerts = new Event('alerts', this.#logger);
    this.#logs = new Event('logs', this.#logger);
  }

  /** Opens the port. Absent `tls`: plain text, for tests. Throws "failed to start CM server". */
  async start(tls?: ServerTls): Promise<void> {
    try {
      this.#server = await ApiServer.open({
        listen: this.#options.listen,
        ...(tls ? { tls } : {}),
        logger: this.#logger,
        routes: (router) => {
          router.service(sm.SMService, {
            registerSM: (incoming, context) => this.#serve(incoming, context),
            getBlobsInfos: async ({ digests }) => ({ urls: [...(await this.#options.blobUrls(digests))] }),
          });
          this.#options.routes?.(router);
        },
      });
    } catch (error) {
      throw asAosError(error, `failed to start CM server on ${this.#options.listen}`);
    }
  }

  /** Where it listens; undefined before `start`. */
  get address(): Address | undefined {
    return this.#server?.address;
  }

  /** A new certificate: new connections get it, old streams end a little later. */
  replaceTls(tls: ServerTls): void {
    this.#server?.replaceTls(tls, NODES.closeOldStreamsAfterMs);
  }

  async stop(): Promise<void> {
    for (const stream of this.#all) stream.close();
    await this.#server?.close();
    this.#server = undefined;
  }

  get onConnection() {
    return this.#connections.subscribe;
  }

  get onStatuses() {
    return this.#statuses.subscribe;
  }

  get onMonitoring() {
    return this.#monitoring.subscribe;
  }

  get onAlert() {
    return this.#alerts.subscribe;
  }

  get onLog() {
    return this.#logs.subscribe;
  }

  isConnected(nodeId: string): boolean {
    return this.#streams.has(nodeId);
  }

  /** Tells every SM whether the cloud is connected, and those that come later. */
  setCloudConnected(isConnected: boolean): void {
    if (this.#cloudConnected === isConnected) return;
    this.#cloudConnected = isConnected;
    for (const stream of this.#all) this.#tryTo(stream, () => stream.send(connectionStatusMessage(isConnected)));
  }

  /** Throws `notFound` "node not found" without a stream, `failed` "failed to send message". */
  sendUpdateInstances(nodeId: string, update: UpdateInstances): void {
    this.#stream(nodeId).send(updateInstancesMessage(update));
  }

  sendLogRequest(nodeId: string, request: LogRequest): void {
    this.#stream(nodeId).send(logRequestMessage(request));
  }

  getNodeConfigStatus(nodeId: string, signal: AbortSignal): Promise<NodeConfigStatus> {
    return this.#askConfig(nodeId, { case: 'getNodeConfigStatus', value: {} }, signal);
  }

  /** Rejects with the node's own error when it refuses the configuration. */
  checkNodeConfig(nodeId: string, { json, version }: NodeConfigText, signal: AbortSignal): Promise<NodeConfigStatus> {
    return this.#askConfig(nodeId, { case: 'checkNodeConfig', value: { nodeConfig: json, version } }, signal);
  }

  setNodeConfig(nodeId: string, { json, version }: NodeConfigText, signal: AbortSignal): Promise<NodeConfigStatus> {
    return this.#askConfig(nodeId, { case: 'setNodeConfig', value: { nodeConfig: json, version } }, signal);
  }

  async getAverageMonitoring(nodeId: string, signal: AbortSignal): Promise<NodeMonitoring> {
    const stream = this.#stream(nodeId);
    const answer = await stream.averageQuestions.ask(
      () => stream.send({ case: 'getAverageMonitoring', value: {} }),
      signal,
    );
    return readMonitoring(nodeId, answer);
  }

  async #askConfig(nodeId: string, message: OutgoingMessage, signal: AbortSignal): Promise<NodeConfigStatus> {
    const stream = this.#stream(nodeId);
    return readNodeConfigStatus(await stream.configQuestions.ask(() => stream.send(message), signal));
  }

  #stream(nodeId: string): SmStream {
    const stream = this.#streams.get(nodeId);
    if (!stream) throw new AosError('notFound', 'node not found', { fields: { nodeId } });
    return stream;
  }

  async *#serve(incoming: AsyncIterable<sm.SMOutgoingMessages>, context: HandlerContext) {
    const stream = new SmStream(this.#clock);
    this.#all.add(stream);
    const end = () => stream.close();
    context.signal.addEventListener('abort', end);
    stream.send(connectionStatusMessage(this.#cloudConnected));
    // It ends by itself; the peer may keep its side open for longer than this stream lives.
    void this.#read(stream, incoming, context.signal);
    try {
      yield* stream.outbox;
    } finally {
      context.signal.removeEventListener('abort', end);
      stream.close();
      this.#ended(stream);
    }
  }

  async #read(stream: SmStream, incoming: AsyncIterable<sm.SMOutgoingMessages>, signal: AbortSignal): Promise<void> {
    try {
      for await (const { SMOutgoingMessage: message } of incoming) {
        if (stream.outbox.closed) return;
        this.#tryTo(stream, () => this.#take(stream, message));
      }
    } catch (error) {
      const reason = signal.aborted ? canceledBy(signal) : asAosError(error);
      this.#logger.info({ nodeId: stream.nodeId, error: reason.message }, 'the stream of a service manager broke');
    } finally {
      stream.close();
    }
  }

  #tryTo(stream: SmStream, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#logger.warn({ nodeId: stream.nodeId, error: asAosError(error).message }, 'a message of an SM was lost');
    }
  }

  #take(stream: SmStream, message: sm.SMOutgoingMessages['SMOutgoingMessage']): void {
    if (message.case === 'smInfo') {
      this.#register(stream, message.value);
      return;
    }
    const { nodeId } = stream;
    if (nodeId === undefined) throw new AosError('wrongState', `${message.case} came before sm_info`);
    switch (message.case) {
      case 'nodeInstancesStatus':
      case 'updateInstancesStatus': {
        const isFull = message.case === 'nodeInstancesStatus';
        const { instances, complaints } = readInstances(message.value.instances);
        for (const { message: error } of complaints) {
          this.#logger.warn({ nodeId, error }, 'an instance in the report of an SM is not understood');
        }
        this.#statuses.emit({ nodeId, isFull, instances });
        return;
      }
      case 'nodeConfigStatus':
        if (!stream.configQuestions.answer(message.value)) throw new AosError('notFound', 'no matching request found');
        return;
      case 'averageMonitoring':
        if (!stream.averageQuestions.answer(message.value)) throw new AosError('notFound', 'no matching request found');
        return;
      case 'instantMonitoring':
        this.#monitoring.emit(readMonitoring(nodeId, message.value));
        return;
      case 'alert':
        this.#alerts.emit(readAlert(nodeId, message.value));
        return;
      case 'log':
        this.#logs.emit(readLog(nodeId, message.value));
        return;
      default:
        throw new AosError('notSupported', 'the message is of no known kind');
    }
  }

  #register(stream: SmStream, message: sm.SMInfo): void {
    const info = readSmInfo(message);
    if (stream.nodeId !== undefined && stream.nodeId !== info.nodeId) {
      throw new AosError('wrongState', `node ${stream.nodeId} cannot become ${info.nodeId} on the same stream`);
    }
    const isNew = stream.nodeId === undefined;
    if (isNew) this.#options.nodes.admit(info.nodeId);
    stream.nodeId = info.nodeId;
    if (isNew) {
      const superseded = this.#streams.get(info.nodeId);
      this.#streams.set(info.nodeId, stream);
      superseded?.close();
      this.#logger.info({ nodeId: info.nodeId }, 'a service manager connected');
      // Whoever counts on the list of instances of the former stream begins anew.
      this.#connections.emit({ nodeId: info.nodeId, connected: true });
    }
    this.#options.nodes.smConnected(info);
  }

  #ended(stream: SmStream): void {
    this.#all.delete(stream);
    const { nodeId } = stream;
    if (nodeId === undefined || this.#streams.get(nodeId) !== stream) return;
    this.#streams.delete(nodeId);
    this.#logger.info({ nodeId }, 'a service manager disconnected');
    this.#connections.emit({ nodeId, connected: false });
    this.#options.nodes.smDisconnected(nodeId);
  }
}
