/** Samples and changes of state since the last message, in bounded memory (spec/cm.md 8.1). Pure. */
import { type InstanceIdent, type InstanceState, instanceKey, type NodeState } from '../../core/index.ts';
import { formatTime, instanceMembers, type MonitoringData, type MonitoringSample } from '../../protocol/index.ts';
import type { NodeMonitoring, Usage } from '../nodes/index.ts';

export interface MonitoringLimits {
  /** Samples, and changes of state, of one node or instance. */
  readonly samplesPerEntry: number;
  readonly nodes: number;
  readonly instances: number;
  readonly instancesPerMessage: number;
}

interface Entry<S> {
  readonly samples: MonitoringSample[];
  readonly states: S[];
}

type NodeEntry = Entry<{ readonly timestamp: string; readonly state: NodeState; readonly isConnected: boolean }>;

interface InstanceEntry extends Entry<{ readonly timestamp: string; readonly state: InstanceState }> {
  readonly ident: InstanceIdent;
  readonly nodeId: string;
}

export class MonitoringCache {
  readonly #limits: MonitoringLimits;
  readonly #nodes = new Map<string, NodeEntry>();
  readonly #instances = new Map<string, InstanceEntry>();

  constructor(limits: MonitoringLimits) {
    this.#limits = limits;
  }

  get isEmpty(): boolean {
    return this.#nodes.size === 0 && this.#instances.size === 0;
  }

  /** False when there was no room for all of it. */
  addSamples({ nodeId, node, instances }: NodeMonitoring, now: Date): boolean {
    let complete = true;
    const nodeEntry = this.#node(nodeId);
    if (nodeEntry) this.#push(nodeEntry.samples, sample(node, now));
    else complete = false;
    for (const { ident, usage } of instances) {
      const entry = this.#instance(ident, nodeId);
      if (entry) this.#push(entry.samples, sample(usage, now));
      else complete = false;
    }
    return complete;
  }

  /** The first state after a message is always kept, later ones when they differ. */
  addNodeState(nodeId: string, state: NodeState, isConnected: boolean, now: Date): void {
    const states = this.#node(nodeId)?.states;
    const last = states?.at(-1);
    if (!states || (last?.state === state && last.isConnected === isConnected)) return;
    this.#push(states, { timestamp: formatTime(now), state, isConnected });
  }

  addInstanceState(ident: InstanceIdent, nodeId: string, state: InstanceState, now: Date): void {
    const states = this.#instance(ident, nodeId)?.states;
    if (!states || states.at(-1)?.state === state) return;
    this.#push(states, { timestamp: formatTime(now), state });
  }

  /** Everything as messages; the cache is empty afterwards. */
  take(): MonitoringData[] {
    const nodes = [...this.#nodes].map(([nodeId, { samples, states }]) => ({
      node: { codename: nodeId },
      ...(states.length > 0 ? { nodeStates: states } : {}),
      items: samples,
    }));
    const instances = [...this.#instances.values()].map(({ ident, nodeId, samples, states }) => ({
      ...instanceMembers(ident),
      node: { codename: nodeId },
      itemStates: states,
      items: samples,
    }));
    this.#nodes.clear();
    this.#instances.clear();
    const messages: MonitoringData[] = [];
    const { instancesPerMessage } = this.#limits;
    for (let start = 0; start === 0 || start < instances.length; start += instancesPerMessage) {
      const part = instances.slice(start, start + instancesPerMessage);
      messages.push({
        messageType: 'monitoringData',
        nodes: start === 0 ? nodes : [],
        ...(part.length > 0 ? { instances: part } : {}),
      });
    }
    return messages;
  }

  #node(nodeId: string): NodeEntry | undefined {
    const known = this.#nodes.get(nodeId);
    if (known || this.#nodes.size >= this.#limits.nodes) return known;
    const entry: NodeEntry = { samples: [], states: [] };
    this.#nodes.set(nodeId, entry);
    return entry;
  }

  #instance(ident: InstanceIdent, nodeId: string): InstanceEntry | undefined {
    const key = JSON.stringify([nodeId, instanceKey(ident)]);
    const known = this.#instances.get(key);
    if (known || this.#instances.size >= this.#limits.instances) return known;
    const entry: InstanceEntry = { ident, nodeId, samples: [], states: [] };
    this.#instances.set(key, entry);
    return entry;
  }

  /** The oldest gives way. */
  #push<T>(list: T[], value: T): void {
    list.push(value);
    if (list.length > this.#limits.samplesPerEntry) list.shift();
  }
}

/** CPU is written as a whole number (spec/decisions.md C-27). */
function sample({ timestamp, ram, cpu, download, upload, partitions }: Usage, now: Date): MonitoringSample {
  return {
    timestamp: formatTime(timestamp ?? now),
    ram,
    cpu: Math.round(cpu),
    download,
    upload,
    ...(partitions.length > 0 ? { partitions: partitions.map(({ name, usedSize }) => ({ name, usedSize })) } : {}),
  };
}
