/** The nodes of the unit, on the main node (spec/iam.md 7, spec/decisions.md IA-05). */
import { isDeepStrictEqual } from 'node:util';
import { AosError, asAosError, type Clock, type Logger, type NodeState } from '../../core/index.ts';
import {
  MAX_ID_LENGTH,
  MAX_NODES,
  MAX_UNPROVISIONED_NODES,
  SAVE_NODES_AGAIN_MS,
  UNPROVISIONED_LIFE_MS,
} from '../limits.ts';
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
  readonly #stopping = new AbortController();
  /** Nodes that the store does not have as they are. */
  readonly #unsaved = new Set<string>();
  #isSavingAgain = false;

  /** Nodes known from before are not connected. */
  constructor(store: NodeStore, clock: Clock, logger: Logger) {
    this.#store = store;
    this.#clock = clock;
    this.#logger = logger;
    for (const info of store.nodes()) this.#entries.set(info.nodeId, { info, connected: false, lostAtMs: undefined });
  }

  /**
   * Takes what a node says of itself; one notification per real change. Unprovisioned nodes are not kept over a
   * restart. What the store does not take now (spec/beyond.md R-02) holds all the same, and is stored when it does.
   * Throws `noMemory` when the unit has no room for another node.
   */
  set(info: NodeInfo, connected: boolean): void {
    this.#forgetLost();
    const known = this.#entries.get(info.nodeId);
    if (!known) this.#checkRoom(info);
    if (known && known.connected === connected && isDeepStrictEqual(known.info, info)) return;
    const entry = this.#put(info, connected);
    if (!known || !isDeepStrictEqual(known.info, info)) this.#save(info.nodeId);
    this.#tell(entry);
  }

  /** Throws `notFound` for an unknown node. */
  setState(nodeId: string, state: NodeState): void {
    const { info, connected } = this.#entry(nodeId);
    this.set({ ...info, state }, connected);
  }

  /** Throws `notFound` for an unknown node. */
  setConnected(nodeId: string, connected: boolean): void {
    const entry = this.#entry(nodeId);
    if (entry.connected !== connected) this.#tell(this.#put(entry.info, connected));
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
    this.#unsaved.delete(nodeId);
    this.#logger.info({ nodeId }, 'the node was forgotten');
  }

  stop(): void {
    this.#stopping.abort();
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

  #put(info: NodeInfo, connected: boolean): Entry {
    const lost = info.state === 'unprovisioned' && !connected;
    const entry = { info, connected, lostAtMs: lost ? this.#clock.monotonicMs() : undefined };
    this.#entries.set(info.nodeId, entry);
    return entry;
  }

  #tell(entry: RegistryEntry): void {
    for (const listener of this.#listeners) listener(entry);
  }

  /** Makes the store have the node as it is, now or later. */
  #save(nodeId: string): void {
    const info = this.#entries.get(nodeId)?.info;
    try {
      if (info && info.state !== 'unprovisioned') this.#store.saveNode(info);
      else this.#store.removeNode(nodeId);
      if (this.#unsaved.delete(nodeId)) this.#logger.info({ nodeId }, 'the node is stored after all');
    } catch (error) {
      if (!this.#unsaved.has(nodeId)) {
        const because = asAosError(error).message;
        this.#logger.error({ nodeId, error: because }, 'the node cannot be stored; it is tried again until it can');
      }
      this.#unsaved.add(nodeId);
      void this.#saveAgain();
    }
  }

  async #saveAgain(): Promise<void> {
    if (this.#isSavingAgain) return;
    this.#isSavingAgain = true;
    try {
      while (this.#unsaved.size > 0) {
        await this.#clock.sleep(SAVE_NODES_AGAIN_MS, this.#stopping.signal);
        for (const nodeId of [...this.#unsaved]) this.#save(nodeId);
      }
    } catch (error) {
      this.#logger.error(
        { nodes: [...this.#unsaved], error: asAosError(error).message },
        'nodes are not stored; they are as before after the next start, until they register',
      );
    } finally {
      this.#isSavingAgain = false;
    }
  }

  #forgetLost(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [nodeId, { lostAtMs }] of this.#entries) {
      if (lostAtMs !== undefined && nowMs - lostAtMs >= UNPROVISIONED_LIFE_MS) this.#entries.delete(nodeId);
    }
  }
}
