/** All nodes of the unit, and who wants to know of them (spec/cm.md 7.7, spec/decisions.md CM-56, CM-57). */
import { isDeepStrictEqual } from 'node:util';
import { AosError, asAosError, type Clock, type Logger, systemClock } from '../../core/index.ts';
import type { NodeInfo } from '../model.ts';
import { DEFAULTS, NODES } from '../numbers.ts';
import type { IamNodeInfo, SmInfo } from './model.ts';
import { mergeNode } from './node-state.ts';

export interface NodeDirectoryOptions {
  readonly logger: Logger;
  readonly clock?: Clock;
  /** `nodeInfoProvider.smConnectionTimeout`. */
  readonly smConnectionTimeoutMs?: number;
}

interface Entry {
  iam?: IamNodeInfo;
  sm?: SmInfo;
  isOverdue: boolean;
  /** Ends the wait for the SM. */
  waiting?: AbortController | undefined;
  told?: NodeInfo;
}

/**
 * IAM and the SM controller tell it what they learn; it merges and tells its listeners of each difference, at once and
 * in the order of the events. A node whose SM stays away for `smConnectionTimeoutMs` turns to `error`.
 */
export class NodeDirectory {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Set<(node: NodeInfo) => void>();
  #stopped = false;

  constructor(options: NodeDirectoryOptions) {
    this.#logger = options.logger;
    this.#clock = options.clock ?? systemClock;
    this.#timeoutMs = options.smConnectionTimeoutMs ?? DEFAULTS.smConnectionTimeoutMs;
  }

  /** The nodes that IAM knows, in the order in which they became known. */
  nodes(): NodeInfo[] {
    return [...this.#entries.values()].flatMap((entry) => merged(entry) ?? []);
  }

  node(nodeId: string): NodeInfo | undefined {
    const entry = this.#entries.get(nodeId);
    return entry && merged(entry);
  }

  subscribe(listener: (node: NodeInfo) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What IAM said, at start and on each change. */
  updateFromIam(info: IamNodeInfo): void {
    const entry = this.#entry(info.nodeId);
    entry.iam = info;
    this.#changed(info.nodeId, entry);
  }

  /** Throws `noMemory` for a node that nobody knows when there are as many as a unit can have. */
  admit(nodeId: string): void {
    if (this.#entries.has(nodeId) || this.#entries.size < NODES.maxNodes) return;
    throw new AosError('noMemory', `node ${nodeId} is more than the ${NODES.maxNodes} that a unit can have`);
  }

  smConnected(info: SmInfo): void {
    const entry = this.#entry(info.nodeId);
    entry.sm = info;
    entry.isOverdue = false;
    entry.waiting?.abort();
    entry.waiting = undefined;
    this.#changed(info.nodeId, entry);
  }

  smDisconnected(nodeId: string): void {
    const entry = this.#entry(nodeId);
    delete entry.sm;
    this.#await(nodeId, entry);
    this.#changed(nodeId, entry);
  }

  stop(): void {
    this.#stopped = true;
    for (const entry of this.#entries.values()) entry.waiting?.abort();
  }

  #entry(nodeId: string): Entry {
    let entry = this.#entries.get(nodeId);
    if (!entry) {
      entry = { isOverdue: false };
      this.#entries.set(nodeId, entry);
      this.#await(nodeId, entry);
    }
    return entry;
  }

  /** Starts the time within which the SM must (again) be there. */
  #await(nodeId: string, entry: Entry): void {
    if (this.#stopped) return;
    entry.waiting?.abort();
    const waiting = new AbortController();
    entry.waiting = waiting;
    this.#clock.sleep(this.#timeoutMs, waiting.signal).then(
      () => {
        entry.waiting = undefined;
        entry.isOverdue = true;
        this.#changed(nodeId, entry);
      },
      // The SM is there, or the daemon stops.
      (error) => this.#logger.trace({ nodeId, error: asAosError(error).message }, 'no longer waiting for the SM'),
    );
  }

  #changed(nodeId: string, entry: Entry): void {
    const node = merged(entry);
    if (!node || isDeepStrictEqual(node, entry.told)) return;
    entry.told = node;
    const { state, isConnected } = node;
    this.#logger.info({ nodeId, state, isConnected }, 'a node changed');
    for (const listener of this.#listeners) {
      try {
        listener(node);
      } catch (error) {
        this.#logger.error({ nodeId, error: asAosError(error).message }, 'a listener to nodes failed');
      }
    }
  }
}

function merged({ iam, sm, isOverdue }: Entry): NodeInfo | undefined {
  return iam && mergeNode(iam, sm, isOverdue);
}
