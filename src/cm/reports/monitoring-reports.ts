/** Usage of nodes and instances on its way to the cloud (spec/cm.md 8.1). */
import { type Clock, type Logger, systemClock } from '../../core/index.ts';
import type { CloudLinkApi } from '../link/index.ts';
import type { InstanceStatus, NodeInfo, Subscribe } from '../model.ts';
import type { NodeMonitoring } from '../nodes/index.ts';
import { LAUNCHER, REPORTS } from '../numbers.ts';
import { BatchTimer } from './batch-timer.ts';
import { MonitoringCache } from './monitoring-cache.ts';

/** Most nodes of a unit (spec/decisions.md 8.3), and instances in one message. */
const MAX_NODES = 128;
const INSTANCES_PER_MESSAGE = 256;

export interface MonitoringReportsOptions {
  readonly link: Pick<CloudLinkApi, 'connected' | 'send' | 'onConnection'>;
  readonly onMonitoring: Subscribe<NodeMonitoring>;
  readonly onNode: Subscribe<NodeInfo>;
  readonly onInstances: Subscribe<readonly InstanceStatus[]>;
  /** `monitoring.sendPeriod`. */
  readonly sendPeriodMs: number;
  readonly logger: Logger;
  readonly clock?: Clock;
}

export class MonitoringReports {
  readonly #options: MonitoringReportsOptions;
  readonly #clock: Clock;
  readonly #timer: BatchTimer;
  readonly #cache = new MonitoringCache({
    samplesPerEntry: REPORTS.samplesPerEntry,
    nodes: MAX_NODES,
    instances: LAUNCHER.maxInstances,
    instancesPerMessage: INSTANCES_PER_MESSAGE,
  });
  #ends: (() => void)[] = [];

  constructor(options: MonitoringReportsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#timer = new BatchTimer(options.sendPeriodMs, () => this.#send());
  }

  start(): void {
    const { link, logger, onMonitoring, onNode, onInstances } = this.#options;
    this.#ends = [
      onMonitoring((monitoring) => {
        if (!this.#cache.addSamples(monitoring, this.#clock.now())) {
          logger.warn({ nodeId: monitoring.nodeId }, 'too many nodes or instances: a sample is left out');
        }
        this.#timer.arm();
      }),
      onNode(({ nodeId, state, isConnected }) => {
        this.#cache.addNodeState(nodeId, state, isConnected, this.#clock.now());
        this.#timer.arm();
      }),
      onInstances((changed) => {
        for (const { ident, nodeId, state } of changed) {
          if (nodeId !== '') this.#cache.addInstanceState(ident, nodeId, state, this.#clock.now());
        }
        this.#timer.arm();
      }),
      link.onConnection((connected) => {
        if (connected) this.#timer.arm();
      }),
    ];
  }

  stop(): void {
    for (const end of this.#ends.splice(0)) end();
    this.#timer.stop();
  }

  /** While offline the cache goes on rolling; the newest are kept. */
  #send(): void {
    const { link } = this.#options;
    if (!link.connected || this.#cache.isEmpty) return;
    for (const message of this.#cache.take()) link.send(message);
  }
}
