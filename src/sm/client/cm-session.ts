/** One stream to the CM, from the introduction to its end (spec/sm.md 2.1–2.3, spec/decisions.md 7.2). */
import { sm } from '../../api/contracts.ts';
import { type Channel, errorMessage, readFilterMessage } from '../../api/index.ts';
import {
  AosError,
  asAosError,
  type ErrorInfo,
  type InstanceFilter,
  type InstanceIdent,
  instanceKey,
  type Logger,
  Mailbox,
  type UnitConfigState,
} from '../../core/index.ts';
import type { InstanceStatus, ResourceInfo, RuntimeInfo, UpdateRequest } from '../model.ts';
import { type OutgoingMessage, readUpdate, statusMessage } from './messages.ts';

/** Messages that the network has not taken yet; more than that and the stream is given up. */
const MAX_OUTGOING = 4096;

export interface NodeDescription {
  readonly nodeId: string;
  readonly runtimes: readonly RuntimeInfo[];
  readonly resources: readonly ResourceInfo[];
}

export interface NodeConfigAnswer {
  readonly state: UnitConfigState;
  readonly version: string;
  readonly error?: ErrorInfo | undefined;
}

/** A request for lines of the journal or of instances (spec/sm.md 10). */
export interface LogRequest {
  readonly kind: 'system' | 'instance' | 'crash';
  readonly correlationId: string;
  readonly filter: InstanceFilter;
  readonly from?: Date | undefined;
  readonly till?: Date | undefined;
}

/** What the CM asks of this node. */
export interface CmHandlers {
  /** All instances, as soon as they may be told (spec/decisions.md C-67). */
  firstStatuses(signal: AbortSignal): Promise<readonly InstanceStatus[]>;
  /** Carries the request out and answers all instances of the node. */
  updateInstances(request: UpdateRequest, signal: AbortSignal): Promise<readonly InstanceStatus[]>;
  nodeConfigStatus(): NodeConfigAnswer;
  checkNodeConfig(text: string, version: string): NodeConfigAnswer;
  setNodeConfig(text: string, version: string): Promise<NodeConfigAnswer>;
  averageMonitoring(): OutgoingMessage;
  logs(request: LogRequest): void;
  cloudStatus(connected: boolean): void;
  /** The node has introduced itself on a new stream. */
  introduced(): void;
}

export interface CmSessionOptions {
  readonly channel: Channel;
  readonly node: NodeDescription;
  readonly handlers: CmHandlers;
  readonly logger: Logger;
}

export class CmSession {
  readonly channel: Channel;
  /** Resolves when the CM is there and has been told of all instances; rejects when the stream ends before. */
  readonly introduced: Promise<void>;
  readonly #options: CmSessionOptions;
  readonly #outgoing = new Mailbox<{ SMOutgoingMessage: OutgoingMessage }>(MAX_OUTGOING);
  readonly #unsent: OutgoingMessage[] = [];
  readonly #ended = new AbortController();
  readonly #answered = Promise.withResolvers<void>();
  #listed: Set<string> | undefined;
  /** The last answer about the node config: they name no request, so their order does. */
  #lastConfigAnswer: Promise<void> = Promise.resolve();
  #isIntroduced = false;
  #resolveIntroduced!: () => void;
  #rejectIntroduced!: (error: Error) => void;

  constructor(options: CmSessionOptions) {
    this.#options = options;
    this.channel = options.channel;
    this.introduced = new Promise((resolve, reject) => {
      this.#resolveIntroduced = resolve;
      this.#rejectIntroduced = reject;
    });
    // Whoever waits for it is told; nobody has to wait.
    this.introduced.catch(() => undefined);
  }

  get isIntroduced(): boolean {
    return this.#isIntroduced;
  }

  /** Whether the CM has been told of this instance on this stream. */
  isListed(ident: InstanceIdent): boolean {
    return this.#listed?.has(instanceKey(ident)) ?? false;
  }

  send(message: OutgoingMessage): void {
    if (this.#ended.signal.aborted) {
      this.#unsent.push(message);
      return;
    }
    try {
      this.#outgoing.push({ SMOutgoingMessage: message });
    } catch (error) {
      this.#options.logger.error({}, `the CM does not take what it is sent: ${asAosError(error).message}`);
      this.close();
      this.#unsent.push(message);
    }
  }

  /** After the end: what was sent and never left, oldest first. */
  get unsent(): readonly OutgoingMessage[] {
    return this.#unsent;
  }

  /** Runs until the stream ends; `onAnswer` is called when the CM has said anything. */
  async run(signal: AbortSignal, onAnswer: () => void): Promise<void> {
    const { node } = this.#options;
    const both = AbortSignal.any([signal, this.#ended.signal]);
    const answered = () => {
      this.#answered.resolve();
      onAnswer();
    };
    this.send({ case: 'smInfo', value: smInfo(node) });
    try {
      const client = this.channel.client(sm.SMService);
      const incoming = client.registerSM(this.#outgoing, { signal: both, onHeader: answered });
      void this.#introduce(both);
      for await (const { SMIncomingMessage: message } of incoming) {
        answered();
        this.#handle(message, both);
      }
    } finally {
      this.close();
    }
  }

  /** Ends the stream and its channel. */
  close(): void {
    if (this.#ended.signal.aborted) return;
    const error = new AosError('canceled', 'the stream to the CM was closed');
    this.#rejectIntroduced(error);
    this.#unsent.push(...this.#outgoing.takeAll().map(({ SMOutgoingMessage }) => SMOutgoingMessage));
    this.#outgoing.close();
    this.#ended.abort(error);
    this.channel.close();
  }

  async #introduce(signal: AbortSignal): Promise<void> {
    try {
      this.#sendStatuses(await this.#options.handlers.firstStatuses(signal));
      // Until then it may be that nobody is there who could be told of anything.
      await this.#answered.promise;
      if (this.#ended.signal.aborted) return;
      this.#isIntroduced = true;
      this.#resolveIntroduced();
      this.#options.handlers.introduced();
    } catch (error) {
      if (!signal.aborted)
        this.#options.logger.error({}, `cannot tell the CM of instances: ${asAosError(error).message}`);
      this.close();
    }
  }

  #sendStatuses(statuses: readonly InstanceStatus[]): void {
    if (this.#ended.signal.aborted) return;
    this.#listed = new Set(statuses.map(({ ident }) => instanceKey(ident)));
    this.send({ case: 'nodeInstancesStatus', value: { instances: statuses.map(statusMessage) } });
  }

  #handle(message: sm.SMIncomingMessages['SMIncomingMessage'], signal: AbortSignal): void {
    const { handlers } = this.#options;
    switch (message.case) {
      case 'getNodeConfigStatus':
        this.#answerNodeConfig(() => handlers.nodeConfigStatus());
        break;
      case 'checkNodeConfig':
        this.#answerNodeConfig(() => handlers.checkNodeConfig(message.value.nodeConfig, message.value.version));
        break;
      case 'setNodeConfig':
        this.#answerNodeConfig(() => handlers.setNodeConfig(message.value.nodeConfig, message.value.version));
        break;
      case 'updateInstances':
        void this.#update(message.value, signal);
        break;
      case 'getAverageMonitoring':
        void this.#afterIntroduction(() => this.send(handlers.averageMonitoring()));
        break;
      case 'systemLogRequest':
        handlers.logs({ kind: 'system', filter: {}, ...readRequest(message.value) });
        break;
      case 'instanceLogRequest':
        handlers.logs({
          kind: 'instance',
          filter: readFilterMessage(message.value.filter),
          ...readRequest(message.value),
        });
        break;
      case 'instanceCrashLogRequest':
        handlers.logs({
          kind: 'crash',
          filter: readFilterMessage(message.value.filter),
          ...readRequest(message.value),
        });
        break;
      case 'connectionStatus':
        handlers.cloudStatus(message.value.cloudStatus === sm.ConnectionEnum.CONNECTED);
        break;
      default:
        this.#options.logger.warn({}, 'the CM sent a message that this version does not know');
    }
  }

  async #update(message: sm.UpdateInstances, signal: AbortSignal): Promise<void> {
    let request: UpdateRequest;
    try {
      request = readUpdate(message);
    } catch (error) {
      this.#options.logger.error({}, `a request for instances is dropped: ${asAosError(error).message}`);
      return;
    }
    await this.#afterIntroduction(async () => {
      this.#sendStatuses(await this.#options.handlers.updateInstances(request, signal));
    });
  }

  #answerNodeConfig(work: () => NodeConfigAnswer | Promise<NodeConfigAnswer>): void {
    this.#lastConfigAnswer = this.#lastConfigAnswer.then(async () => {
      try {
        const { state, version, error } = await work();
        this.send({ case: 'nodeConfigStatus', value: { state, version, error: error ?? errorMessage(undefined) } });
      } catch (error) {
        this.#options.logger.error({}, `cannot answer the CM: ${asAosError(error).message}`);
      }
    });
  }

  /** Answers that name instances wait until the CM knows them; on a stream that has ended nobody waits for them. */
  async #afterIntroduction(work: () => void | Promise<void>): Promise<void> {
    try {
      await this.introduced;
      await work();
    } catch (error) {
      if (this.#ended.signal.aborted) return;
      this.#options.logger.error({}, `cannot answer the CM: ${asAosError(error).message}`);
    }
  }
}

function smInfo({ nodeId, runtimes, resources }: NodeDescription) {
  return {
    nodeId,
    runtimes: runtimes.map(({ runtimeId, type, maxInstances, os, arch }) => ({
      runtimeId,
      type,
      maxInstances: BigInt(maxInstances),
      osInfo: { os: os.os, version: os.version, features: [...os.features] },
      archInfo: { ...arch },
    })),
    resources: resources.map(({ name, sharedCount }) => ({ name, sharedCount: BigInt(sharedCount) })),
  };
}

interface TimeRange {
  readonly correlationId: string;
  readonly from?: { readonly seconds: bigint; readonly nanos: number } | undefined;
  readonly till?: { readonly seconds: bigint; readonly nanos: number } | undefined;
}

function readRequest({ correlationId, from, till }: TimeRange) {
  return { correlationId, from: readTime(from), till: readTime(till) };
}

/** Seconds of 0 and less mean absent (spec/decisions.md 7.1). */
function readTime(time: TimeRange['from']): Date | undefined {
  return time && time.seconds > 0n ? new Date(Number(time.seconds) * 1000 + time.nanos / 1e6) : undefined;
}
