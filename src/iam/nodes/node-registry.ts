/** The nodes of the unit, on the main node (spec/iam.md 7, spec/decisions.md IA-05). */
import { isDeepStrictEqual } from 'node:util';
import { AosError, type Clock, type Logger, type NodeState } from '../../core/index.ts';
import { MAX_ID_LENGTH, MAX_NODES, MAX_UNPROVISIONED_NODES, UNPROVISIONED_LIFE_MS } from '../limits.ts';
import type { NodeInfo } from '../node-info.ts';

/** Where nodes survive a restart. */
export interface NodeStore {
  nodes(): NodeInfo[];
  saveNode(info: NodeInfo): void;
  removeNode(nodeId: string): void;
}

export interface RegistryEntry {
  readonly info: NodeInfo;
  readonly connected: boolean;
}

interface Entry extends RegistryEntry {
  /** When the stream of an unprovisioned node ended. */
  readonly lostAtMs: number | undefined;
}

export class NodeRegistry {
  readonly #store: NodeStore;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Set<(entry: RegistryEntry) => void>();

  /** Nodes known from before are not connected. */
  constructor(store: NodeStore, clock: Clock, logger: Logger) {
    this.#store = store;
    this.#clock = clock;
    this.#logger = logger;
    for (const info of store.nodes()) this.#entries.set(info.nodeId, { info, connected: false, lostAtMs: undefined });
  }

  /**
   * Stores what a node says of itself; one notification per real change. Unprovisioned nodes are not kept over a
   * restart. Throws `noMemory` when there is no room for another node.
   */
  set(info: NodeInfo, connected: boolean): void {
    this.#forgetLost();
    const known = this.#entries.get(info.nodeId);
    if (!known) this.#checkRoom(info);
    if (known && known.connected === connected && isDeepStrictEqual(known.info, info)) return;
    if (!known || !isDeepStrictEqual(known.info, info)) this.#persist(info);
    this.#put(info, connected);
  }

  /** Throws `notFound` for an unknown node. */
  setState(nodeId: string, state: NodeState): void {
    const { info, connected } = this.#entry(nodeId);
    this.set({ ...info, state }, connected);
  }

  /** Throws `notFound` for an unknown node. */
  setConnected(nodeId: string, connected: boolean): void {
    const entry = this.#entry(nodeId);
    if (entry.connected !== connected) this.#put(entry.info, connected);
  }

  /** Throws `notFound` for an unknown node. */
  get(nodeId: string): RegistryEntry {
    this.#forgetLost();
    return this.#entry(nodeId);
  }

  find(nodeId: string): RegistryEntry | undefined {
    this.#forgetLost();
    return this.#entries.get(nodeId);
  }

  /** In the order of first appearance. */
  list(): RegistryEntry[] {
    this.#forgetLost();
    return [...this.#entries.values()];
  }

  /** Removes a node that will not come back. Throws `notFound`, or `wrongState` for one that is connected. */
  forget(nodeId: string): void {
    const entry = this.#entry(nodeId);
    if (entry.connected) throw new AosError('wrongState', `node "${nodeId}" is connected; switch it off first`);
    this.#store.removeNode(nodeId);
    this.#entries.delete(nodeId);
    this.#logger.info({ nodeId }, 'the node was forgotten');
  }

  onChange(listener: (entry: RegistryEntry) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #entry(nodeId: string): Entry {
    const entry = this.#entries.get(nodeId);
    if (!entry) throw new AosError('notFound', `node "${nodeId.slice(0, MAX_ID_LENGTH)}" is unknown`);
    return entry;
  }

  #checkRoom(info: NodeInfo): void {
    const infos = [...this.#entries.values()].map((entry) => entry.info);
    const unprovisioned = infos.filter(({ state }) => state === 'unprovisioned').length;
    if (infos.length >= MAX_NODES) throw new AosError('noMemory', `the unit has ${MAX_NODES} nodes already`);
    if (info.state === 'unprovisioned' && unprovisioned >= MAX_UNPROVISIONED_NODES) {
      throw new AosError('noMemory', `${MAX_UNPROVISIONED_NODES} unprovisioned nodes wait already`);
    }
  }

  #persist(info: NodeInfo): void {
    if (info.state === 'unprovisioned') this.#store.removeNode(info.nodeId);
    else this.#store.saveNode(info);
  }

  #put(info: NodeInfo, connected: boolean): void {
    const lost = info.state === 'unprovisioned' && !connected;
    const entry = { info, connected, lostAtMs: lost ? this.#clock.monotonicMs() : undefined };
    this.#entries.set(info.nodeId, entry);
    for (const listener of this.#listeners) listener(entry);
  }

  #forgetLost(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [nodeId, { lostAtMs }] of this.#entries) {
      if (lostAtMs !== undefined && nowMs - lostAtMs >= UNPROVISIONED_LIFE_MS) this.#entries.delete(nodeId);
    }
  }
}
