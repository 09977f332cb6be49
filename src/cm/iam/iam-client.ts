/** What the CM hears from IAM: the system, its nodes, its subjects (spec/cm.md 1.6, spec/decisions.md IA-20). */
import { iam } from '../../api/contracts.ts';
import { asCallError, type Channel, UNARY_DEADLINE_MS } from '../../api/index.ts';
import { asAosError, type Clock, type Logger } from '../../core/index.ts';
import type { IamNodeInfo } from '../nodes/index.ts';
import { readNodeInfo } from './read-iam.ts';

const RESUBSCRIBE_MS = 3_000;

export interface IamClientOptions {
  /** The channel to IAM's public server. */
  readonly channel: Channel;
  readonly logger: Logger;
  readonly clock: Clock;
}

export interface SystemInfo {
  readonly systemId: string;
  readonly unitModel: string;
  readonly version: string;
}

/** Something that IAM tells changes of. */
interface Topic<T> {
  readonly what: string;
  readonly open: (signal: AbortSignal) => AsyncIterable<T>;
  readonly take: (message: T) => void;
  /** Asks for all of it. */
  readonly load: () => Promise<void>;
}

interface Subscription<T> {
  readonly messages: AsyncIterator<T>;
  readonly first: Promise<IteratorResult<T>>;
  /** Breaks it off. */
  readonly end: () => void;
}

export class IamClient {
  readonly #options: IamClientOptions;
  readonly #abort = new AbortController();
  readonly #nodeListeners = new Set<(node: IamNodeInfo) => void>();
  readonly #subjectListeners = new Set<(subjects: readonly string[]) => void>();
  readonly #nodes = new Map<string, IamNodeInfo>();
  readonly #following: Promise<void>[] = [];
  #subjects: readonly string[] = [];
  #mainNodeId = '';
  #system: SystemInfo = { systemId: '', unitModel: '', version: '' };

  constructor(options: IamClientOptions) {
    this.#options = options;
  }

  /** Reads everything once; throws when IAM does not answer. Changes are followed from then on. */
  async start(): Promise<void> {
    const { channel } = this.#options;
    const identity = channel.client(iam.IAMPublicIdentityService);
    const current = channel.client(iam.IAMPublicCurrentNodeService);
    const publicNodes = channel.client(iam.IAMPublicNodesService);
    const nodes: Topic<iam.NodeInfo> = {
      what: 'nodes',
      open: (signal) => publicNodes.subscribeNodeChanged({}, { signal }),
      take: (message) => this.#takeNode(readNodeInfo(message)),
      load: () => this.#loadNodes(),
    };
    const subjects: Topic<iam.Subjects> = {
      what: 'subjects',
      open: (signal) => identity.subscribeSubjectsChanged({}, { signal }),
      take: (message) => this.#takeSubjects(message.subjects),
      load: () => this.#loadSubjects(),
    };
    const subscriptions = [this.#subscribe(nodes), this.#subscribe(subjects)] as const;
    try {
      const [{ systemId, unitModel, version }, { nodeId }] = await Promise.all([
        this.#call('the system', () => identity.getSystemInfo({}, this.#deadline())),
        this.#call('this node', () => current.getCurrentNodeInfo({}, this.#deadline())),
        nodes.load(),
        subjects.load(),
      ]);
      this.#system = { systemId, unitModel, version };
      this.#mainNodeId = nodeId;
    } catch (error) {
      for (const { end } of subscriptions) end();
      throw error;
    }
    this.#following.push(this.#follow(nodes, subscriptions[0]), this.#follow(subjects, subscriptions[1]));
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await Promise.all(this.#following);
  }

  get system(): SystemInfo {
    return this.#system;
  }

  get mainNodeId(): string {
    return this.#mainNodeId;
  }

  nodes(): readonly IamNodeInfo[] {
    return [...this.#nodes.values()];
  }

  subjects(): readonly string[] {
    return this.#subjects;
  }

  onNode(listener: (node: IamNodeInfo) => void): () => void {
    this.#nodeListeners.add(listener);
    return () => this.#nodeListeners.delete(listener);
  }

  onSubjects(listener: (subjects: readonly string[]) => void): () => void {
    this.#subjectListeners.add(listener);
    return () => this.#subjectListeners.delete(listener);
  }

  async #loadNodes(): Promise<void> {
    const client = this.#options.channel.client(iam.IAMPublicNodesService);
    const { ids } = await this.#call('the nodes', () => client.getAllNodeIDs({}, this.#deadline()));
    const infos = await Promise.all(
      ids.map((nodeId) => this.#call(`node ${nodeId}`, () => client.getNodeInfo({ nodeId }, this.#deadline()))),
    );
    for (const info of infos) this.#takeNode(readNodeInfo(info));
  }

  async #loadSubjects(): Promise<void> {
    const client = this.#options.channel.client(iam.IAMPublicIdentityService);
    const { subjects } = await this.#call('the subjects', () => client.getSubjects({}, this.#deadline()));
    this.#takeSubjects(subjects);
  }

  #takeNode(node: IamNodeInfo): void {
    if (node.nodeId === '') return;
    this.#nodes.set(node.nodeId, node);
    for (const listener of this.#nodeListeners) listener(node);
  }

  #takeSubjects(subjects: readonly string[]): void {
    const sorted = [...new Set(subjects)].sort();
    if (sorted.length === this.#subjects.length && sorted.every((subject, i) => subject === this.#subjects[i])) return;
    this.#subjects = sorted;
    for (const listener of this.#subjectListeners) listener(sorted);
  }

  #subscribe<T>({ open }: Topic<T>): Subscription<T> {
    const over = new AbortController();
    const messages = open(AbortSignal.any([this.#abort.signal, over.signal]))[Symbol.asyncIterator]();
    const first = messages.next();
    // A stream that breaks while we ask is seen when it is followed.
    first.catch(() => undefined);
    return { messages, first, end: () => over.abort() };
  }

  /**
   * Begins with a subscription after which everything was asked for, and again whenever it ends: subscribes first and asks
   * then, so that no change falls between.
   */
  async #follow<T>(topic: Topic<T>, begun: Subscription<T>): Promise<void> {
    const { signal } = this.#abort;
    let subscription: Subscription<T> | undefined = begun;
    while (!signal.aborted) {
      try {
        if (!subscription) {
          subscription = this.#subscribe(topic);
          await topic.load();
        }
        const { messages, first } = subscription;
        for (let message = await first; !message.done; message = await messages.next()) topic.take(message.value);
      } catch (error) {
        if (signal.aborted) return;
        const { message } = asAosError(error);
        this.#options.logger.info({ error: message }, `${topic.what} of IAM are subscribed again`);
      } finally {
        // A stream that works while IAM cannot be asked would stay beside the next one.
        subscription?.end();
        subscription = undefined;
      }
      // Ends early only because the CM stops, which the loop sees.
      await this.#options.clock.sleep(RESUBSCRIBE_MS, signal).catch(() => undefined);
    }
  }

  async #call<T>(what: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      throw asCallError(error, `cannot ask IAM for ${what}`);
    }
  }

  #deadline(): { readonly timeoutMs: number; readonly signal: AbortSignal } {
    return { timeoutMs: UNARY_DEADLINE_MS, signal: this.#abort.signal };
  }
}
