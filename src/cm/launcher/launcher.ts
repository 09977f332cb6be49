/**
 * Decides which instance runs where, tells the nodes, and knows how each instance does (spec/cm.md 4).
 * One round at a time: read, place, store in one transaction, send, wait for the nodes' answers.
 */
import {
  asAosError,
  type Clock,
  type InstanceIdent,
  instanceKey,
  isAosError,
  type Logger,
  systemClock,
  throwIfCanceled,
} from '../../core/index.ts';
import type { InstanceStatus, NodeInfo, RunRequest } from '../model.ts';
import type { NodeAlert, NodeConnection, NodeStatuses, UpdateInstances } from '../nodes/index.ts';
import { DEFAULTS, LAUNCHER } from '../numbers.ts';
import { decisionsOf } from './decisions.ts';
import { dropExpired, type EnvOverride, envVarsOf } from './env-overrides.ts';
import { sortRequests } from './form-instances.ts';
import { FormerInstances } from './former-instances.ts';
import type { InstanceRow } from './instance-row.ts';
import type { InstanceStore } from './instance-store.ts';
import type { LauncherOptions } from './launcher-options.ts';
import { NodeMeasurements } from './measure-nodes.ts';
import type { Placement, PlacementInput } from './model.ts';
import { averagesOf, nodeFacts } from './node-facts.ts';
import { NodeLinks } from './node-links.ts';
import { type OverrideReport, OverrideReports } from './override-reports.ts';
import { Rebalances } from './rebalances.ts';
import { explainPlacement, type Schedule, type ScheduleInput, schedule } from './schedule.ts';
import { StatusBoard, scheduledStatus } from './status-board.ts';

export class Launcher {
  readonly #options: LauncherOptions;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #store: InstanceStore;
  readonly #links: NodeLinks;
  readonly #board: StatusBoard;
  readonly #overrideReports: OverrideReports;
  readonly #rebalances: Rebalances;
  readonly #former: FormerInstances;
  readonly #abort = new AbortController();
  readonly #unsubscribe: (() => void)[] = [];
  readonly #measurements: NodeMeasurements;
  /** Undefined until IAM has told them: then none counts as absent. */
  #subjects: ReadonlySet<string> | undefined;
  #overrides: readonly EnvOverride[] = [];
  /** The round that runs; the next one waits for it. */
  #round: Promise<unknown> = Promise.resolve();
  /** Between the look at the nodes and the requests to them nobody else tells a node what to run. */
  #isPlacing = false;
  #startedAtMs = 0;

  constructor(options: LauncherOptions) {
    this.#options = options;
    this.#logger = options.logger;
    this.#clock = options.clock ?? systemClock;
    this.#store = options.store;
    this.#board = new StatusBoard(this.#logger);
    this.#overrideReports = new OverrideReports(this.#logger);
    this.#links = new NodeLinks({
      nodes: options.nodes,
      send: (nodeId) => options.streams.sendUpdateInstances(nodeId, this.#updateFor(nodeId)),
      onSettled: (nodeId, outcome) => {
        if (outcome === 'answered' || outcome === 'timeout') this.#board.failActivating(nodeId, 'timeout');
        this.#board.publish();
        this.#overrideReports.publish((id) => this.#store.rowsOf(id).map(({ ident }) => ident));
      },
      answerTimeoutMs: options.nodeAnswerTimeoutMs ?? LAUNCHER.nodeAnswerTimeoutMs,
      clock: this.#clock,
      logger: this.#logger,
    });
    this.#measurements = new NodeMeasurements(
      (nodeId, signal) => options.streams.getAverageMonitoring(nodeId, signal),
      this.#logger,
    );
    this.#former = new FormerInstances({
      store: this.#store,
      storage: options.storage,
      ttlMs: options.instanceTtlMs ?? DEFAULTS.instanceTtlMs,
      clock: this.#clock,
      logger: this.#logger,
    });
    this.#rebalances = new Rebalances({
      run: (signal) => this.#rebalance(signal),
      clock: this.#clock,
      logger: this.#logger,
    });
  }

  /** Takes up what is stored; nothing that runs is touched. */
  async start(): Promise<void> {
    this.#startedAtMs = this.#clock.monotonicMs();
    const { nodes, streams } = this.#options;
    this.#overrides = dropExpired(this.#store.overrides, this.#clock.now().getTime());
    const active = this.#store.rows.filter(({ state }) => state === 'active');
    this.#board.replace(active.map((row) => scheduledStatus({ row }, undefined, this.#checksumOf(row))));
    this.#unsubscribe.push(
      nodes.subscribe((node) => this.#nodeChanged(node)),
      streams.onConnection((connection) => this.#connectionChanged(connection)),
      streams.onStatuses((statuses) => this.#take(statuses)),
      streams.onAlert((alert) => this.#alerted(alert)),
    );
    for (const node of nodes.nodes()) this.#rebalances.learn(node);
    await this.#former.removeExpired();
    if (active.some(({ nodeId }) => nodeId === '')) this.#rebalances.request('an instance has no place');
    this.#checkSubjects();
    this.#rebalances.start();
    this.#every(LAUNCHER.cacheCheckMs, () => this.#former.removeExpired());
    this.#every(this.#options.checkOverridesMs ?? DEFAULTS.checkOverrideEnvVarsPeriodMs, async () =>
      this.#applyOverrides(this.#overrides),
    );
    this.#watchStart(active);
  }

  async stop(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe();
    this.#abort.abort();
    this.#links.stop();
    await this.#rebalances.stop();
    // Whoever asked for the round is told of its failure; here it only has to be over.
    await this.#round.catch(() => undefined);
  }

  statuses(): InstanceStatus[] {
    return this.#board.all();
  }

  /** Changed statuses, at once; an instance that vanishes is not told. */
  subscribe(listener: (changed: readonly InstanceStatus[]) => void): () => void {
    return this.#board.subscribe(listener);
  }

  /** All overridden variables that nodes have applied or refused, whenever that list becomes another one. */
  subscribeToOverrides(listener: (reports: readonly OverrideReport[]) => void): () => void {
    return this.#overrideReports.subscribe(listener);
  }

  /**
   * Makes the requests the ones in force. Resolves when every node has answered or is no longer waited for: what
   * could not be placed or started is in the statuses. Rejects with `canceled` when the signal aborts; what was
   * stored until then stays in force.
   */
  async launch(requests: readonly RunRequest[], signal: AbortSignal): Promise<void> {
    const sorted = sortRequests(requests);
    const all = AbortSignal.any([signal, this.#abort.signal]);
    await this.#rebalances.aside(() => this.#exclusively(() => this.#run('launch', sorted, all), all));
  }

  /** Where each instance would go with these requests, and why not elsewhere; nothing is changed. */
  async explain(requests: readonly RunRequest[] = this.#store.requests): Promise<Placement[]> {
    return explainPlacement(await this.#input('launch', sortRequests(requests)));
  }

  /** The subjects that IAM reports. */
  setSubjects(subjects: readonly string[]): void {
    this.#subjects = new Set(subjects);
    this.#checkSubjects();
  }

  /** Replaces the overridden variables; instances that get others are restarted by their SM. */
  setOverrides(overrides: readonly EnvOverride[]): void {
    this.#applyOverrides(overrides);
  }

  /** The state of an instance has another checksum now. */
  setStateChecksum(ident: InstanceIdent, checksum: string): void {
    if (!this.#options.reportStateChecksum) return;
    this.#board.setStateChecksum(ident, checksum);
    this.#board.publish();
  }

  /** True when the instance shall run on this node. */
  isWanted(ident: InstanceIdent, nodeId: string): boolean {
    const key = instanceKey(ident);
    return this.#store.rowsOf(nodeId).some((row) => instanceKey(row.ident) === key);
  }

  #isInCharge(): boolean {
    return this.#options.isInCharge?.() ?? true;
  }

  async #rebalance(signal: AbortSignal): Promise<void> {
    if (!this.#isInCharge()) return this.#rebalances.clear();
    const all = AbortSignal.any([signal, this.#abort.signal]);
    return this.#exclusively(() => this.#run('rebalance', this.#store.requests, all), all);
  }

  async #exclusively(work: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const before = this.#round;
    const mine = (async () => {
      // How it ended is a matter of whoever asked for it.
      await before.catch(() => undefined);
      throwIfCanceled(signal);
      await work();
    })();
    this.#round = mine;
    await mine;
  }

  async #run(mode: PlacementInput['mode'], requests: readonly RunRequest[], signal: AbortSignal): Promise<void> {
    await this.#links.ready(this.#waitLimitMs(), signal);
    // A paused node lets go of its instances before they start elsewhere (spec/decisions.md C-71).
    await this.#links.settled((node) => node.state === 'paused', signal);
    await this.#measurements.measure(this.#links.readyNodes(), signal);
    // A node that went away meanwhile would lose all its instances.
    await this.#links.ready(this.#waitLimitMs(), signal);
    this.#isPlacing = true;
    let before: readonly InstanceRow[] = [];
    let lacking = 0;
    try {
      this.#rebalances.clear();
      this.#former.adopt();
      const result = await schedule(await this.#input(mode, requests));
      throwIfCanceled(signal);
      before = this.#store.rows;
      lacking = result.unformed.filter(({ lacksId }) => lacksId).length;
      this.#keep(requests, result);
      for (const decision of decisionsOf(before, result)) this.#options.events?.record(decision);
      this.#links.requestAll();
    } finally {
      this.#isPlacing = false;
    }
    try {
      await this.#links.settled((node) => node.state === 'provisioned', signal);
    } finally {
      // Instances write their state also while they stop.
      await this.#former.release(before);
      // Former instances hold ids: the oldest give theirs to those that lack one.
      const freed = await this.#former.makeRoom(lacking);
      if (freed > 0 && lacking > 0) this.#rebalances.request('ids of former instances are free again');
    }
  }

  /** Stores the result, in one transaction, before anybody hears of it. */
  #keep(requests: readonly RunRequest[], { active, inactive, unformed }: Schedule): void {
    this.#store.save({ requests, rows: [...active.map(({ row }) => row), ...inactive] });
    this.#board.replace([
      ...active.map((one) => scheduledStatus(one, this.#board.get(one.row), this.#checksumOf(one.row))),
      ...unformed.map(
        ({ ident, version, error }): InstanceStatus => ({
          ident,
          version,
          nodeId: '',
          runtimeId: '',
          manifestDigest: '',
          state: 'failed',
          error,
        }),
      ),
    ]);
    this.#board.publish();
  }

  #checksumOf({ ident }: InstanceRow): string | undefined {
    const { storage, reportStateChecksum } = this.#options;
    return reportStateChecksum ? storage.stateChecksum(ident) : undefined;
  }

  async #input(mode: PlacementInput['mode'], requests: readonly RunRequest[]): Promise<ScheduleInput> {
    const { nodes, items, storage, systemIds, config } = this.#options;
    const averages = this.#measurements.last;
    return {
      mode,
      requests,
      rows: this.#store.rows,
      subjects: this.#subjects,
      nodes: nodes.nodes().map((node) =>
        nodeFacts({
          node,
          isReady: this.#links.isReady(node.nodeId),
          config: config.nodeConfig(node.nodeId, node.nodeType),
          monitoring: averages.get(node.nodeId),
        }),
      ),
      running: this.#links.running(),
      averages: averagesOf(averages.values()),
      items,
      storage,
      systemIds: await systemIds(),
      nowMs: this.#clock.now().getTime(),
    };
  }

  #updateFor(nodeId: string): UpdateInstances {
    return this.#links.plan(nodeId, this.#store.rowsOf(nodeId), (ident) => envVarsOf(ident, this.#overrides));
  }

  #waitLimitMs(): number {
    const { nodesConnectionTimeoutMs, smConnectionTimeoutMs } = this.#options;
    const sinceStartMs = this.#clock.monotonicMs() - this.#startedAtMs;
    return Math.max(
      (nodesConnectionTimeoutMs ?? DEFAULTS.nodesConnectionTimeoutMs) - sinceStartMs,
      2 * (smConnectionTimeoutMs ?? DEFAULTS.smConnectionTimeoutMs),
    );
  }

  #connectionChanged({ nodeId, connected }: NodeConnection): void {
    if (connected) this.#links.connected(nodeId);
    else this.#links.disconnected(nodeId);
  }

  #nodeChanged(node: NodeInfo): void {
    this.#links.nodeChanged(node);
    if (node.state === 'unprovisioned') this.#board.nodeLeft(node.nodeId);
    const because = this.#rebalances.learn(node);
    if (because !== undefined) this.#rebalances.request(because);
  }

  #take(statuses: NodeStatuses): void {
    const { nodeId, isFull, instances } = statuses;
    const isNew = isFull && !this.#links.isReady(nodeId);
    // First the words, then their consequences: what is still on its way after an answer has failed.
    this.#board.report(statuses);
    if (isFull) this.#overrideReports.take(nodeId, instances);
    if (!isFull) this.#links.tookChanges(nodeId, instances);
    else if (!this.#links.took(nodeId, instances)) this.#correct(nodeId);
    this.#board.publish();
    if (isNew && this.#store.rows.some((row) => row.state === 'active' && row.nodeId === '')) {
      this.#rebalances.request(`node ${nodeId} is there`);
    }
  }

  /** A node that speaks by itself and runs something else is told again (spec/cm.md 4.10, "Resend"). */
  #correct(nodeId: string): void {
    if (this.#isPlacing || this.#rebalances.isDue || !this.#isInCharge()) return;
    this.#links.correct(nodeId, this.#store.rowsOf(nodeId), (ident) => envVarsOf(ident, this.#overrides));
  }

  #alerted({ nodeId, content }: NodeAlert): void {
    if (content.tag === 'systemQuotaAlert') this.#rebalances.alerted(nodeId, content.state);
  }

  #checkSubjects(): void {
    const subjects = this.#subjects;
    if (!subjects) return;
    const wrong = this.#store.rows.find(
      ({ state, isUnitSubject, ident }) =>
        isUnitSubject && state !== 'cached' && (state === 'disabled') === subjects.has(ident.subjectId),
    );
    if (wrong) this.#rebalances.request(`subject ${wrong.ident.subjectId} came or went`);
  }

  #applyOverrides(overrides: readonly EnvOverride[]): void {
    const valid = dropExpired(overrides, this.#clock.now().getTime());
    const before = this.#overrides;
    if (JSON.stringify(valid) === JSON.stringify(before)) return;
    this.#store.saveOverrides(valid);
    this.#overrides = valid;
    const changed = this.#store.rows.filter(
      ({ state, ident }) =>
        state === 'active' && JSON.stringify(envVarsOf(ident, before)) !== JSON.stringify(envVarsOf(ident, valid)),
    );
    for (const nodeId of new Set(changed.map((row) => row.nodeId))) if (nodeId !== '') this.#links.request(nodeId);
  }

  /** Instances whose node does not come after a start fail, and are placed elsewhere (spec/decisions.md C-69, CM-35). */
  #watchStart(active: readonly InstanceRow[]): void {
    const waitMs = this.#options.nodesConnectionTimeoutMs ?? DEFAULTS.nodesConnectionTimeoutMs;
    this.#background(async () => {
      await this.#clock.sleep(waitMs, this.#abort.signal);
      const absent = new Set(active.map(({ nodeId }) => nodeId).filter((id) => id !== '' && !this.#links.isReady(id)));
      for (const nodeId of absent) this.#board.failActivating(nodeId, 'failed');
      this.#board.publish();
      if (absent.size > 0) this.#rebalances.request(`${[...absent].join(', ')} did not connect`);
    });
  }

  #every(periodMs: number, work: () => Promise<void>): void {
    this.#background(async () => {
      for (;;) {
        await this.#clock.sleep(periodMs, this.#abort.signal);
        try {
          await this.#exclusively(work, this.#abort.signal);
        } catch (error) {
          throwIfCanceled(this.#abort.signal);
          this.#logger.error({ error: asAosError(error).message }, 'periodic work of the launcher failed');
        }
      }
    });
  }

  #background(work: () => Promise<void>): void {
    work().catch((error) => {
      if (isAosError(error, 'canceled') || this.#abort.signal.aborted) return;
      this.#logger.error({ error: asAosError(error).message }, 'background work of the launcher ended');
    });
  }
}
