/** The launcher's links to all nodes, and the waits for them (spec/cm.md 4.4, 4.10). */
import { type Clock, canceledBy, type InstanceIdent, instanceKey, type Logger } from '../../core/index.ts';
import type { NodeInfo } from '../model.ts';
import { type EnvVar, hasServiceManager, type ReportedInstance, type UpdateInstances } from '../nodes/index.ts';
import type { InstanceRow } from './instance-row.ts';
import { NodeLink, type Outcome } from './node-link.ts';
import { needsUpdate, planPause, planUpdate } from './plan-requests.ts';

export interface NodeLinksOptions {
  readonly nodes: { nodes(): readonly NodeInfo[]; node(nodeId: string): NodeInfo | undefined };
  readonly send: (nodeId: string) => void;
  readonly onSettled: (nodeId: string, outcome: Outcome) => void;
  readonly answerTimeoutMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class NodeLinks {
  readonly #options: NodeLinksOptions;
  readonly #links = new Map<string, NodeLink>();
  /** Called on everything that may end the wait for nodes. */
  readonly #watchers = new Set<() => void>();

  constructor(options: NodeLinksOptions) {
    this.#options = options;
  }

  isReady(nodeId: string): boolean {
    return this.#links.get(nodeId)?.isReady ?? false;
  }

  /** Nodes that can be asked and told. */
  readyNodes(): string[] {
    return this.#options.nodes
      .nodes()
      .filter(({ nodeId, state }) => state === 'provisioned' && this.isReady(nodeId))
      .map(({ nodeId }) => nodeId);
  }

  connected(nodeId: string): void {
    this.#link(nodeId).connected();
  }

  disconnected(nodeId: string): void {
    this.#link(nodeId).disconnected();
  }

  /** True when the list answers what was sent. */
  took(nodeId: string, instances: readonly ReportedInstance[]): boolean {
    const isAnswer = this.#link(nodeId).took(instances);
    this.#changed();
    return isAnswer;
  }

  tookChanges(nodeId: string, instances: readonly ReportedInstance[]): void {
    const link = this.#link(nodeId);
    const changes = new Map(instances.map((instance) => [instanceKey(instance.ident), instance]));
    link.reported = link.reported.map((instance) => changes.get(instanceKey(instance.ident)) ?? instance);
  }

  nodeChanged(node: NodeInfo): void {
    const link = this.#links.get(node.nodeId);
    if (node.state === 'paused') link?.request();
    else if (node.state !== 'provisioned') link?.leave();
    this.#changed();
  }

  request(nodeId: string): void {
    this.#link(nodeId).request();
  }

  /** Tells every node that is there what to run, also when that is nothing. */
  requestAll(): void {
    for (const nodeId of this.readyNodes()) this.#link(nodeId).request();
  }

  /** Tells a node again when it runs something else than it shall. */
  correct(nodeId: string, rows: readonly InstanceRow[], envVars: (ident: InstanceIdent) => readonly EnvVar[]): void {
    const link = this.#link(nodeId);
    const state = this.#options.nodes.node(nodeId)?.state;
    const isWrong =
      state === 'paused'
        ? planPause({ rows: [], reported: link.reported, envVars: () => [] }).stop.length > 0
        : state === 'provisioned' && needsUpdate({ rows, reported: link.reported, envVars });
    if (isWrong) link.request();
  }

  plan(
    nodeId: string,
    rows: readonly InstanceRow[],
    envVars: (ident: InstanceIdent) => readonly EnvVar[],
  ): UpdateInstances {
    const { reported } = this.#link(nodeId);
    const isPaused = this.#options.nodes.node(nodeId)?.state === 'paused';
    return (isPaused ? planPause : planUpdate)({ rows, reported, envVars });
  }

  /** Where each instance was reported last. */
  running(): Map<string, { readonly nodeId: string; readonly runtimeId: string }> {
    const running = new Map<string, { nodeId: string; runtimeId: string }>();
    for (const [nodeId, { reported, isReady }] of this.#links) {
      if (!isReady) continue;
      for (const { ident, runtimeId, state } of reported) {
        if (state !== 'inactive') running.set(instanceKey(ident), { nodeId, runtimeId });
      }
    }
    return running;
  }

  /** Waits until everything was answered that was sent to the nodes of this kind. */
  async settled(isMeant: (node: NodeInfo) => boolean, signal: AbortSignal): Promise<void> {
    const links = this.#options.nodes
      .nodes()
      .flatMap((node) => (isMeant(node) ? (this.#links.get(node.nodeId) ?? []) : []));
    await Promise.all(links.map((link) => link.settled(signal)));
  }

  /** Waits until no provisioned node with an SM is missing, or for as long as `limitMs` (spec/decisions.md C-69). */
  async ready(limitMs: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw canceledBy(signal);
    if (this.#missing().length === 0) return;
    this.#options.logger.info({ nodes: this.#missing() }, 'waiting for nodes');
    const done = new AbortController();
    const complete = new Promise<void>((resolve) => {
      const look = () => {
        if (this.#missing().length === 0) resolve();
      };
      this.#watchers.add(look);
      done.signal.addEventListener('abort', () => this.#watchers.delete(look));
    });
    try {
      const limit = this.#options.clock.sleep(limitMs, AbortSignal.any([signal, done.signal]));
      limit.catch(() => undefined);
      await Promise.race([complete, limit]);
    } finally {
      done.abort();
    }
    const missing = this.#missing();
    if (missing.length > 0) this.#options.logger.warn({ nodes: missing }, 'going on without nodes that did not come');
  }

  stop(): void {
    for (const link of this.#links.values()) link.stop();
  }

  #missing(): string[] {
    return this.#options.nodes
      .nodes()
      .filter(
        ({ nodeId, state, attrs }) => state === 'provisioned' && hasServiceManager(attrs) && !this.isReady(nodeId),
      )
      .map(({ nodeId }) => nodeId);
  }

  #changed(): void {
    for (const look of this.#watchers) look();
  }

  #link(nodeId: string): NodeLink {
    let link = this.#links.get(nodeId);
    if (!link) {
      const { send, onSettled, answerTimeoutMs, clock, logger } = this.#options;
      link = new NodeLink({
        nodeId,
        send: () => send(nodeId),
        onSettled: (outcome) => onSettled(nodeId, outcome),
        answerTimeoutMs,
        clock,
        logger,
      });
      this.#links.set(nodeId, link);
    }
    return link;
  }
}
