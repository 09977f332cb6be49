import type { DatabaseSync } from 'node:sqlite';
import { AosError, type Clock, type NodeState, silentLogger, systemClock } from '../../core/index.ts';
import type { NewEvent } from '../events/index.ts';
import type { WantedItem } from '../images/index.ts';
import type { InstanceStatus, ItemStatus, RunRequest } from '../model.ts';
import type { UnitConfigOutcome } from './carry-out-orders.ts';
import { instanceStatus } from './desired-for-tests.ts';
import { UpdateManager, type UpdateManagerOptions } from './update-manager.ts';
import { UpdateStore } from './update-store.ts';

export const PENDING = { state: 'pending' } as const;

/** As a database says it. */
export const noRoom = () => new AosError('noMemory', 'not enough space', { exitCode: 28 });

/** A store on a disk that is full as long as a test wants it. */
class SmallStore extends UpdateStore {
  readonly #isFull: () => boolean;

  constructor(database: DatabaseSync, isFull: () => boolean) {
    super(database);
    this.#isFull = isFull;
  }

  override accept(...args: Parameters<UpdateStore['accept']>): void {
    this.#refuse();
    super.accept(...args);
  }

  override enter(...args: Parameters<UpdateStore['enter']>): void {
    this.#refuse();
    super.enter(...args);
  }

  #refuse(): void {
    if (this.#isFull()) throw noRoom();
  }
}

/** A unit whose every step can be held, failed, and counted; it outlives the managers that work on it. */
export class Unit {
  readonly calls: string[] = [];
  readonly events: NewEvent[] = [];
  items: ItemStatus[] = [];
  instances: InstanceStatus[] = [];
  nodeStates: Record<string, NodeState> = { main: 'provisioned' };
  nodeErrors: Record<string, string | undefined> = {};
  configOutcomes: UnitConfigOutcome[] = [];
  fullStatuses = 0;
  /** Steps that do not end by themselves. */
  readonly held = new Set<string>();
  readonly failing = new Map<string, AosError>();
  /** State of instances right after they were launched. */
  launchedAs: 'active' | 'activating' = 'active';
  /** `item version` of what fails when it is launched. */
  readonly broken = new Set<string>();
  /** What authors want, by `item version`. */
  readonly updateRules = new Map<string, unknown>();
  gate: UpdateManagerOptions['gate'];
  diskIsFull = false;
  /** What fails has no node. */
  isPlaceless = false;
  clock: Clock = systemClock;
  #listeners = new Set<(changed: readonly InstanceStatus[]) => void>();

  async step(name: string, signal: AbortSignal): Promise<void> {
    this.calls.push(name);
    const error = this.failing.get(name.split(' ')[0]!);
    if (error) throw error;
    if (!this.held.has(name.split(' ')[0]!)) return;
    await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
  }

  images = {
    items: () => this.items,
    download: async (wanted: readonly WantedItem[], _: unknown, signal: AbortSignal) => {
      await this.step(`download ${wanted.map(({ itemId, version }) => `${itemId}@${version}`).join(',')}`, signal);
      for (const { itemId, version, type, rejected } of wanted) {
        const row = this.items.find((item) => item.itemId === itemId && item.version === version);
        if (rejected) this.items = this.items.filter((item) => item !== row);
        else if (row) continue;
        this.items.push({ itemId, version, type, ...(rejected ? { state: 'failed', error: rejected } : PENDING) });
      }
    },
    install: async (
      wanted: readonly WantedItem[],
      isUsed: (id: string, version: string) => boolean,
      signal: AbortSignal,
    ) => {
      await this.step('install', signal);
      const names = new Set(wanted.map(({ itemId, version }) => `${itemId} ${version}`));
      this.items = this.items
        .filter(({ itemId, version }) => names.has(`${itemId} ${version}`) || isUsed(itemId, version))
        .map((item) => (item.state === 'failed' ? item : { ...item, state: 'installed' as const }));
    },
    updateRules: async (itemId: string, version: string) => {
      const rules = this.updateRules.get(`${itemId} ${version}`);
      return rules === undefined ? [] : [rules];
    },
  };

  launcher = {
    statuses: () => this.instances,
    subscribe: (listener: (changed: readonly InstanceStatus[]) => void) => {
      this.#listeners.add(listener);
      return () => this.#listeners.delete(listener);
    },
    launch: async (requests: readonly RunRequest[], signal: AbortSignal) => {
      await this.step(`launch ${requests.map(({ itemId, version }) => `${itemId}@${version}`).join(',')}`, signal);
      this.instances = requests.map(({ itemId, version }) => {
        const isBroken = this.broken.has(`${itemId} ${version}`);
        const status = instanceStatus(itemId, version, isBroken ? 'failed' : this.launchedAs);
        const error = { aosCode: 7, exitCode: 0, message: 'start probe failed' };
        const reason = 'start probe failed: no answer within 1000 ms';
        return isBroken ? { ...status, error, reason, ...(this.isPlaceless && { nodeId: '' }) } : status;
      });
    },
  };

  allBecome(state: 'active' | 'failed'): void {
    this.instances = this.instances.map((status) => ({ ...status, state }));
    this.allChange();
  }

  /** Something is told of all instances. */
  allChange(): void {
    for (const listener of this.#listeners) listener(this.instances);
  }

  manager(database: DatabaseSync): UpdateManager {
    return new UpdateManager({
      store: new SmallStore(database, () => this.diskIsFull),
      clock: this.clock,
      images: this.images,
      launcher: this.launcher,
      nodes: {
        state: (nodeId) => this.nodeStates[nodeId],
        pause: async (nodeId, signal) => {
          await this.step(`pause ${nodeId}`, signal);
          this.nodeStates[nodeId] = 'paused';
        },
        resume: async (nodeId, signal) => {
          await this.step(`resume ${nodeId}`, signal);
          this.nodeStates[nodeId] = 'provisioned';
        },
      },
      unitConfig: {
        apply: async (config, signal) => {
          await this.step('config', signal);
          return { version: (config as { version: string }).version, state: 'installed' };
        },
      },
      reports: {
        nodeUpdateFailed: (nodeId, error) => {
          this.nodeErrors[nodeId] = error?.message;
        },
        unitConfigOutcome: (outcome) => this.configOutcomes.push(outcome),
        sendFull: () => {
          this.fullStatuses += 1;
        },
      },
      trust: () => ({ certificates: [], chains: [], roots: [], claimedTime: {} }),
      ...(this.gate && { gate: this.gate }),
      events: { record: (event) => this.events.push(event) },
      logger: silentLogger,
    });
  }
}
