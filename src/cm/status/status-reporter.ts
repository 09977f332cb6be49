/**
 * Tells the cloud how the unit is: everything when a session opens and when an update ends, else what changed, gathered
 * for a while (spec/cm.md 2.8, spec/decisions.md CM-16, CM-18).
 */
import { asAosError, type Clock, type ErrorInfo, instanceKey, type Logger, systemClock } from '../../core/index.ts';
import type { UnitStatus } from '../../protocol/index.ts';
import type { InstanceStatus, ItemStatus, NodeInfo } from '../model.ts';
import { STATUS } from '../numbers.ts';
import { deltaStatus, fullStatus, type UnitConfigReport } from './unit-status.ts';

/** Where the present state is. */
export interface StatusSources {
  unitConfig(): UnitConfigReport;
  nodes(): readonly NodeInfo[];
  items(): readonly ItemStatus[];
  instances(): readonly InstanceStatus[];
  subjects(): readonly string[];
}

export interface StatusReporterOptions {
  readonly sources: StatusSources;
  /** Hands a message to the link; throws when it cannot be taken. */
  readonly send: (status: UnitStatus) => void;
  /** How long changes are gathered after the last one (`unitStatusSendTimeout`). */
  readonly debounceMs: number;
  readonly logger: Logger;
  readonly clock?: Clock;
}

interface Gathered {
  unitConfig: UnitConfigReport | undefined;
  readonly nodes: Map<string, NodeInfo>;
  readonly items: Map<string, ItemStatus>;
  readonly instances: Map<string, InstanceStatus>;
  subjects: readonly string[] | undefined;
  readonly firstMs: number;
  lastMs: number;
}

/** What only a full status tells, and only until the cloud has it. */
interface Outcomes {
  readonly nodeUpdateErrors: ReadonlyMap<string, ErrorInfo>;
  readonly unitConfig: UnitConfigReport | undefined;
}

export class StatusReporter {
  readonly #options: StatusReporterOptions;
  readonly #clock: Clock;
  readonly #stopping = new AbortController();
  readonly #nodeUpdateErrors = new Map<string, ErrorInfo>();
  #unitConfigOutcome: UnitConfigReport | undefined;
  /** Outcomes that a full status has told. */
  readonly #told = new WeakMap<UnitStatus, Outcomes>();
  /** `opening`: a session's first status is built, and not handed over yet; nothing else is taken meanwhile. */
  #session: 'none' | 'opening' | 'open' = 'none';
  /** A full status is due when the session is open. */
  #owesFull = false;
  #gathered: Gathered | undefined;
  #sending: Promise<void> | undefined;

  constructor(options: StatusReporterOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** The full status that opens a session. What changes from now on goes into a delta behind it. */
  open(): UnitStatus {
    this.#session = 'opening';
    this.#owesFull = false;
    this.#gathered = undefined;
    return this.#full();
  }

  /** The link tells whether the opening status was handed over, or that the session has ended. */
  connectionChanged(connected: boolean): void {
    this.#session = connected ? 'open' : 'none';
    if (!connected) this.#gathered = undefined;
    else if (this.#owesFull) this.sendFull();
  }

  /** The cloud has this status. Until then a session that ends takes it along, and the next one tells the same. */
  acknowledged(status: UnitStatus): void {
    const told = this.#told.get(status);
    if (!told) return;
    for (const [nodeId, error] of told.nodeUpdateErrors) {
      if (this.#nodeUpdateErrors.get(nodeId) === error) this.#nodeUpdateErrors.delete(nodeId);
    }
    if (this.#unitConfigOutcome === told.unitConfig) this.#unitConfigOutcome = undefined;
  }

  /** Everything, now; without a session nothing, since the next one opens with it. */
  sendFull(): void {
    this.#owesFull = this.#session === 'opening';
    if (this.#session !== 'open') return;
    try {
      this.#options.send(this.#full());
      this.#gathered = undefined;
    } catch (error) {
      this.#options.logger.warn({ error: asAosError(error).message }, 'the full unit status could not be sent');
    }
  }

  /** An error, or undefined when the node is as it was ordered to be. */
  nodeUpdateFailed(nodeId: string, error: ErrorInfo | undefined): void {
    if (error) this.#nodeUpdateErrors.set(nodeId, error);
    else this.#nodeUpdateErrors.delete(nodeId);
  }

  unitConfigOutcome(outcome: UnitConfigReport): void {
    this.#unitConfigOutcome = outcome;
    this.#gather((changes) => {
      changes.unitConfig = outcome;
    });
  }

  nodeChanged(node: NodeInfo): void {
    this.#gather(({ nodes }) => nodes.set(node.nodeId, node));
  }

  itemsChanged(changed: readonly ItemStatus[]): void {
    if (changed.length === 0) return;
    this.#gather(({ items }) => {
      for (const item of changed) items.set(JSON.stringify([item.itemId, item.version]), item);
    });
  }

  instancesChanged(changed: readonly InstanceStatus[]): void {
    if (changed.length === 0) return;
    this.#gather(({ instances }) => {
      for (const status of changed) instances.set(`${instanceKey(status.ident)} ${status.version}`, status);
    });
  }

  subjectsChanged(subjects: readonly string[]): void {
    this.#gather((changes) => {
      changes.subjects = subjects;
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#gathered = undefined;
    await this.#sending;
  }

  #full(): UnitStatus {
    const { sources } = this.#options;
    const status = fullStatus({
      unitConfig: sources.unitConfig(),
      unitConfigOutcome: this.#unitConfigOutcome,
      nodes: sources.nodes(),
      nodeUpdateErrors: this.#nodeUpdateErrors,
      items: sources.items(),
      instances: sources.instances(),
      subjects: sources.subjects(),
    });
    this.#told.set(status, {
      nodeUpdateErrors: new Map(this.#nodeUpdateErrors),
      unitConfig: this.#unitConfigOutcome,
    });
    return status;
  }

  #gather(add: (changes: Gathered) => void): void {
    if (this.#session === 'none' || this.#stopping.signal.aborted) return;
    const nowMs = this.#clock.monotonicMs();
    this.#gathered ??= {
      unitConfig: undefined,
      nodes: new Map(),
      items: new Map(),
      instances: new Map(),
      subjects: undefined,
      firstMs: nowMs,
      lastMs: nowMs,
    };
    this.#gathered.lastMs = nowMs;
    add(this.#gathered);
    this.#sending ??= this.#sendWhenDue().finally(() => {
      this.#sending = undefined;
    });
  }

  /** A stream of changes postpones the delta, but only so long. */
  async #sendWhenDue(): Promise<void> {
    const { debounceMs, send, logger } = this.#options;
    while (this.#gathered) {
      const { firstMs, lastMs } = this.#gathered;
      const dueMs = Math.min(lastMs + debounceMs, firstMs + STATUS.latestFactor * debounceMs);
      const waitMs = dueMs - this.#clock.monotonicMs();
      if (waitMs > 0) {
        try {
          await this.#clock.sleep(waitMs, this.#stopping.signal);
        } catch (error) {
          logger.trace({ error: asAosError(error).message }, 'changes are not reported any more: the CM stops');
          return;
        }
        continue;
      }
      const gathered = this.#gathered;
      if (this.#session === 'opening') {
        this.#gathered = this.#later(gathered);
        continue;
      }
      const { unitConfig, nodes, items, instances, subjects } = gathered;
      try {
        send(
          deltaStatus({
            unitConfig,
            nodes: [...nodes.values()],
            items: [...items.values()],
            instances: [...instances.values()],
            subjects,
          }),
        );
        this.#gathered = undefined;
      } catch (error) {
        // Kept, and tried again after another pause.
        logger.warn({ error: asAosError(error).message }, 'changes of the unit status could not be sent');
        this.#gathered = this.#later(gathered);
      }
    }
  }

  /** The same changes, as if they had come just now. */
  #later(gathered: Gathered): Gathered {
    const nowMs = this.#clock.monotonicMs();
    return { ...gathered, firstMs: nowMs, lastMs: nowMs };
  }
}
