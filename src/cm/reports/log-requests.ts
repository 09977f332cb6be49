/** Logs that the cloud asks for (spec/cm.md 7.5, spec/decisions.md C-20 … C-23). */
import { randomUUID } from 'node:crypto';
import { AosError, asAosError, type ErrorInfo, type Logger, toErrorInfo } from '../../core/index.ts';
import { instanceFilter, type PushLog, type RequestLog, timeOf, type UploadOptions } from '../../protocol/index.ts';
import type { CloudLinkApi } from '../link/index.ts';
import type { NodeInfo, Subscribe } from '../model.ts';
import { hasServiceManager, type LogPart, type LogRequest } from '../nodes/index.ts';
import { LOGS } from '../numbers.ts';

/** Requests that are answered at the same time. */
const MAX_REQUESTS = 64;

export interface LogRequestsOptions {
  readonly link: Pick<CloudLinkApi, 'send' | 'handle'>;
  readonly nodes: () => readonly Pick<NodeInfo, 'nodeId' | 'attrs'>[];
  readonly isConnected: (nodeId: string) => boolean;
  /** Hands a request to the SM of a node; throws when there is none. */
  readonly sendLogRequest: (nodeId: string, request: LogRequest) => void;
  readonly onLog: Subscribe<LogPart>;
  /** Puts a part where the cloud wants it; throws when that fails. */
  readonly upload: (options: UploadOptions, part: LogPart, signal: AbortSignal) => Promise<void>;
  readonly silentNodeMs?: number;
  readonly logger: Logger;
}

interface Asked {
  readonly upload?: UploadOptions | undefined;
  /** Nodes that have not said everything, with the timer of their silence. */
  readonly nodes: Map<string, NodeJS.Timeout>;
  /** Parts that each node has sent. */
  readonly parts: Map<string, number>;
}

const STATUSES: readonly string[] = ['ok', 'error', 'empty', 'absent'] satisfies PushLog['status'][];

export class LogRequests {
  readonly #options: LogRequestsOptions;
  readonly #abort = new AbortController();
  readonly #asked = new Map<string, Asked>();
  #end: (() => void) | undefined;

  constructor(options: LogRequestsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#options.link.handle('requestLog', (message) => this.#request(message));
    this.#end = this.#options.onLog((part) => this.#forward(part));
  }

  stop(): void {
    this.#end?.();
    this.#abort.abort();
    for (const correlationId of [...this.#asked.keys()]) this.#forget(correlationId);
  }

  #request({ correlationId = randomUUID(), logType, filter, uploadOptions }: RequestLog): void {
    const named = filter.nodeIds.map(({ codename }) => codename);
    const nodeIds = named.length > 0 ? [...new Set(named)] : this.#nodesWithLogs();
    if (this.#asked.size >= MAX_REQUESTS && !this.#asked.has(correlationId)) {
      const error = new AosError('noMemory', 'too many log requests at the same time');
      for (const nodeId of nodeIds) this.#refuse(correlationId, nodeId, error);
      return;
    }
    this.#forget(correlationId);
    const asked: Asked = {
      upload: uploadOptions?.type === 'https' ? uploadOptions : undefined,
      nodes: new Map(),
      parts: new Map(),
    };
    this.#asked.set(correlationId, asked);
    const request: LogRequest = {
      correlationId,
      logType,
      filter: instanceFilter(filter),
      from: filter.from === undefined ? undefined : timeOf(filter.from),
      till: filter.till === undefined ? undefined : timeOf(filter.till),
    };
    for (const nodeId of nodeIds) this.#ask(nodeId, request, asked);
    if (asked.nodes.size === 0) this.#asked.delete(correlationId);
  }

  #nodesWithLogs(): string[] {
    const { nodes, isConnected } = this.#options;
    return nodes()
      .filter(({ nodeId, attrs }) => isConnected(nodeId) || hasServiceManager(attrs))
      .map(({ nodeId }) => nodeId);
  }

  /** A node that cannot be asked does not keep the others from answering. */
  #ask(nodeId: string, request: LogRequest, asked: Asked): void {
    const { nodes, isConnected, sendLogRequest } = this.#options;
    try {
      if (!isConnected(nodeId)) {
        const known = nodes().some((node) => node.nodeId === nodeId);
        throw new AosError('notFound', known ? 'node is not connected' : 'node not found');
      }
      this.#await(request.correlationId, nodeId, asked);
      sendLogRequest(nodeId, request);
    } catch (error) {
      clearTimeout(asked.nodes.get(nodeId));
      asked.nodes.delete(nodeId);
      this.#refuse(request.correlationId, nodeId, error);
    }
  }

  #await(correlationId: string, nodeId: string, asked: Asked): void {
    clearTimeout(asked.nodes.get(nodeId));
    const timer = setTimeout(() => {
      this.#done(correlationId, nodeId, asked);
      this.#refuse(correlationId, nodeId, new AosError('timeout', 'node does not answer the log request'));
    }, this.#options.silentNodeMs ?? LOGS.silentNodeMs);
    asked.nodes.set(nodeId, timer);
  }

  #forward(part: LogPart): void {
    const { correlationId, nodeId } = part;
    const asked = this.#asked.get(correlationId);
    if (asked?.nodes.has(nodeId)) {
      const parts = (asked.parts.get(nodeId) ?? 0) + 1;
      asked.parts.set(nodeId, parts);
      if (part.status !== 'ok' || parts >= part.partsCount) this.#done(correlationId, nodeId, asked);
      else this.#await(correlationId, nodeId, asked);
    }
    if (asked?.upload && part.status === 'ok') void this.#upload(part, asked.upload);
    else this.#push(part);
  }

  /** A part that was put where the cloud wants it is not sent; one that could not be is (spec/decisions.md C-23). */
  async #upload(part: LogPart, upload: UploadOptions): Promise<void> {
    const { logger, upload: put } = this.#options;
    try {
      await put(upload, part, this.#abort.signal);
    } catch (error) {
      const { nodeId, correlationId } = part;
      logger.warn({ nodeId, correlationId, error: asAosError(error).message }, 'a log is sent instead of uploaded');
      this.#push(part);
    }
  }

  #push({ correlationId, nodeId, part, partsCount, content, status, error }: LogPart): void {
    const known = STATUSES.includes(status) ? (status as PushLog['status']) : 'error';
    this.#options.link.send({
      messageType: 'pushLog',
      correlationId,
      node: { codename: nodeId },
      part,
      partsCount,
      content: Buffer.from(content).toString('base64'),
      status: known,
      ...(error ? { errorInfo: error } : {}),
    });
  }

  #refuse(correlationId: string, nodeId: string, error: unknown): void {
    const info: ErrorInfo = toErrorInfo(error);
    this.#options.logger.warn(
      { correlationId, nodeId, error: info.message },
      'a log request is not answered by its node',
    );
    this.#push({
      correlationId,
      nodeId,
      part: 1,
      partsCount: 1,
      content: new Uint8Array(),
      status: 'error',
      error: info,
    });
  }

  #done(correlationId: string, nodeId: string, asked: Asked): void {
    clearTimeout(asked.nodes.get(nodeId));
    asked.nodes.delete(nodeId);
    if (asked.nodes.size === 0 && this.#asked.get(correlationId) === asked) this.#asked.delete(correlationId);
  }

  #forget(correlationId: string): void {
    const asked = this.#asked.get(correlationId);
    for (const timer of asked?.nodes.values() ?? []) clearTimeout(timer);
    this.#asked.delete(correlationId);
  }
}
