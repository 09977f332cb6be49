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
    const identity = this.#options.channel.client(iam.IAMPublicIdentityService);
    const { systemId, unitModel, version } = await this.#call('the system', () =>
      identity.getSystemInfo({}, this.#deadline()),
    );
    this.#system = { systemId, unitModel, version };
    const current = this.#options.channel.client(iam.IAMPublicCurrentNodeService);
    this.#mainNodeId = (await this.#call('this node', () => current.getCurrentNodeInfo({}, this.#deadline()))).nodeId;
    await this.#loadNodes();
    await this.#loadSubjects();
    const nodes = this.#options.channel.client(iam.IAMPublicNodesService);
    this.#following.push(
      this.#follow(
        'nodes',
        (signal) => nodes.subscribeNodeChanged({}, { signal }),
        (message) => this.#takeNode(readNodeInfo(message)),
        () => this.#loadNodes(),
      ),
      this.#follow(
        'subjects',
        (signal) => identity.subscribeSubjectsChanged({}, { signal }),
        ({ subjects }) => this.#takeSubjects(subjects),
        () => this.#loadSubjects(),
      ),
    );
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

  /** Subscribes first and asks then, so that no change falls between; begins again whenever the stream ends. */
  async #follow<T>(
    what: string,
    open: (signal: AbortSignal) => AsyncIterable<T>,
    take: (message: T) => void,
    load: () => Promise<void>,
  ): Promise<void> {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      const over = new AbortController();
      try {
        const messages = open(AbortSignal.any([signal, over.signal]))[Symbol.asyncIterator]();
        let next = messages.next();
        // A stream that breaks while we ask is seen below.
        next.catch(() => undefined);
        await load();
        for (let message = await next; !message.done; message = await next) {
          take(message.value);
          next = messages.next();
        }
      } catch (error) {
        if (signal.aborted) return;
        this.#options.logger.info({ error: asAosError(error).message }, `${what} of IAM are subscribed again`);
      } finally {
        // A stream that works while IAM cannot be asked would stay beside the next one.
        over.abort();
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
