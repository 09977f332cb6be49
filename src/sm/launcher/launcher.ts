/**
 * Brings the instances of this node to what the CM wants (spec/sm.md 4, spec/decisions.md 5).
 *
 * Work is done in order of arrival, one request after another, and each request is answered once. What is to be done is
 * in the database before it is begun, so that a launcher that was killed goes on from there.
 */
import {
  type AosError,
  asAosError,
  type Clock,
  type InstanceIdent,
  type ItemIdent,
  instanceId,
  instanceKey,
  instanceName,
  type Logger,
  phase,
} from '../../core/index.ts';
import type { InstanceInfo, InstanceStatus, UpdateRequest } from '../model.ts';
import { MAX_INSTANCES, REQUEST_SETTLE_MS } from '../numbers.ts';
import { adoptInstances } from './adopt-instances.ts';
import type { InstanceRows } from './instance-rows.ts';
import { InstanceRunner } from './instance-runner.ts';
import type { OfflineInstance } from './offline.ts';
import { OFFLINE_REASON, OfflineWatch } from './offline-watch.ts';
import type { Images, Networks, Permissions, Runtime } from './parts.ts';
import { planInstances, type RunningInstance, type Step } from './plan-instances.ts';
import { RebootRequests } from './reboot-requests.ts';
import { StandingInstances } from './standing-instances.ts';
import { StartGate } from './start-gate.ts';
import { StatusBoard } from './status-board.ts';
import { intendUpdate } from './update-intent.ts';
import { WorkQueue } from './work-queue.ts';

export interface LauncherOptions {
  readonly rows: InstanceRows;
  readonly runtimes: readonly Runtime[];
  readonly images: Images;
  readonly networks: Networks;
  readonly permissions: Permissions;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Reboots the node; reasons for people. Absent: this node cannot. */
  readonly reboot?: ((reasons: readonly string[]) => Promise<void>) | undefined;
  /** Hears why an instance could not be started, each time. */
  readonly onStartFailed?: ((ident: InstanceIdent, error: AosError) => void) | undefined;
  /** An instance is gone for good. */
  readonly onGone?: ((ident: InstanceIdent) => void) | undefined;
}

export class Launcher {
  readonly board = new StatusBoard();
  readonly #gate: StartGate;
  readonly #options: LauncherOptions;
  readonly #runtimes: ReadonlyMap<string, Runtime>;
  readonly #runner: InstanceRunner;
  readonly #queue: WorkQueue;
  readonly #unsubscribe: (() => void)[] = [];
  readonly #offline: OfflineWatch;
  readonly #standing: StandingInstances;
  readonly #reboots: RebootRequests;

  constructor(options: LauncherOptions) {
    this.#options = options;
    this.#gate = new StartGate(this.board, options.clock);
    this.#runtimes = new Map(options.runtimes.map((runtime) => [runtime.runtimeId, runtime]));
    this.#runner = new InstanceRunner({
      ...options,
      runtimes: this.#runtimes,
      board: this.board,
      gate: this.#gate,
      mayNotRun: (info, item) => this.#offline.whyHeld(info, item),
    });
    const { clock, logger, reboot } = options;
    this.#queue = new WorkQueue(clock, logger);
    this.#offline = new OfflineWatch({
      clock,
      running: () => this.#limited(),
      onExpired: (instances) => this.#enqueue('offline TTL', (signal) => this.#stopExpired(instances, signal)),
      onBack: () => this.#enqueue('return of the cloud', (signal) => this.#startExpired(signal)),
    });
    this.#standing = new StandingInstances(options.runtimes, this.board);
    this.#reboots = new RebootRequests({
      ...{ reboot, logger },
      enqueue: (work) => this.#enqueue('reboot', work),
      hasWaiting: () => this.#queue.hasWaiting,
    });
  }

  /** Begins the first launch: what was wanted before the SM ended is adopted or started (spec/decisions.md 5.6). */
  start(): void {
    for (const runtime of this.#runtimes.values()) {
      this.#unsubscribe.push(
        runtime.onChange((change) => {
          this.board.change(change.ident, change.state, change.because, change.error);
          this.#gate.take(change);
          this.#standing.show();
          if (change.state === 'failed' && !runtime.holds(instanceId(change.ident))) this.#takeDownGivenUp(change);
        }),
      );
      const more = [
        runtime.onReboot?.((because) => this.requestReboot(because)),
        runtime.onStanding?.(() => this.#standing.show()),
      ];
      this.#unsubscribe.push(...more.filter((unsubscribe) => unsubscribe !== undefined));
    }
    this.#unsubscribe.push(this.#gate.onChange(() => this.#releaseHeld()));
    for (const { info, isWanted } of this.#options.rows.all()) {
      if (isWanted) this.board.set(info, 'inactive', 'the service manager has just started');
    }
    this.#enqueue('first launch', (signal) => this.#firstLaunch(signal));
  }

  /** Resolves when the work of this moment is done, or the bound is over. */
  async settled(boundMs: number, signal: AbortSignal): Promise<void> {
    await this.#queue.settled(boundMs, signal);
  }

  /**
   * Carries out a request of the CM and answers how all instances of the node do. It is answered when each has
   * settled, at the latest after 5 min, while the work goes on (spec/decisions.md 5.1).
   */
  async update(request: UpdateRequest, signal: AbortSignal): Promise<InstanceStatus[]> {
    const work = this.#queue.do('update', (stop) => this.#update(request, stop));
    await this.#queue.settled(REQUEST_SETTLE_MS, signal, work);
    return this.board.statuses();
  }

  /** Removals that failed are tried again; for the moment when the CM is there. */
  retryRemovals(): void {
    if (this.#options.rows.all().every(({ isWanted }) => isWanted)) return;
    this.#enqueue('removal', (signal) => this.#removeUnwanted(signal, { stopAgain: true }));
  }

  /** Ends waiting and running work; stops the services too when asked. Bounded by the signal. */
  async stop(stopInstances: boolean, signal: AbortSignal): Promise<void> {
    this.#offline.stop();
    await this.#queue.stop();
    if (stopInstances) {
      const services = [...this.#runner.running.values()].filter(({ ident }) => ident.type === 'service');
      const steps = services.map((info): Step => ({ do: 'stop', info, because: 'the service manager stops' }));
      await this.#runner.stopAll(steps, signal);
    }
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
  }

  /** Reboots the node when no launch goes on or waits; requests until then are gathered (spec/product.md SM-60). */
  requestReboot(because: string): void {
    this.#reboots.add(because);
  }

  /** Items that an instance uses or is to use. */
  itemsInUse(): ItemIdent[] {
    const infos = [...this.#options.rows.all().map(({ info }) => info), ...this.#runner.running.values()];
    return infos.map(({ ident, version }) => ({ itemId: ident.itemId, version }));
  }

  /** Services that run now. */
  running(): InstanceInfo[] {
    const infos = [...this.#runner.running.values()].filter(isService);
    return infos.filter(({ ident }) => isRunning(this.board.get(ident)?.status.state));
  }

  /** The node is without its cloud since this moment of the monotonic clock (spec/decisions.md 5.5). */
  offline(sinceMs: number): void {
    this.#offline.offline(sinceMs);
  }

  /** The cloud is back: what stopped because it was away starts again (spec/decisions.md C-72). */
  online(): void {
    this.#offline.online();
  }

  #enqueue(name: string, work: (signal: AbortSignal) => Promise<void>): void {
    this.#queue.do(name, work).catch((error) => this.#options.logger.error({}, asAosError(error).message));
  }

  /** In its turn, and only if nobody has started it again by then. */
  #takeDownGivenUp({ ident }: { readonly ident: InstanceIdent }): void {
    this.#enqueue('given up', async (signal) => {
      const info = this.#runner.running.get(instanceKey(ident));
      if (info) await this.#runner.takeDownFailed([info], signal);
    });
  }

  async #firstLaunch(signal: AbortSignal): Promise<void> {
    const rows = this.#options.rows.all();
    const launched = rows.flatMap((row) => row.launched ?? []);
    const items = await this.#runner.install(launched, signal);
    const { runtimes, networks } = this.#options;
    const parts = { runner: this.#runner, runtimes, networks, board: this.board };
    const adopted = await adoptInstances(launched, items, parts, signal);
    this.#standing.show();
    const running = adopted.map((info): RunningInstance => ({ info, failed: false }));
    const wanted = rows.filter(({ isWanted }) => isWanted).map(({ info }) => info);
    await this.#carryOut(planInstances(wanted, running), signal);
    await this.#removeUnwanted(signal);
    this.#offline.check();
  }

  async #update(request: UpdateRequest, signal: AbortSignal): Promise<void> {
    const { rows } = this.#options;
    const known = rows.all().map(({ info }) => info.ident);
    const { wanted, unwanted, refused } = intendUpdate(request, known, MAX_INSTANCES);
    try {
      rows.intend(wanted, unwanted);
    } catch (error) {
      // What runs goes on; of what is new the CM would hear nothing at all.
      for (const info of wanted.filter(({ ident }) => !this.#runner.running.has(instanceKey(ident)))) {
        this.board.set(info, 'failed', 'the request cannot be noted', asAosError(error));
      }
      throw error;
    }
    const stays = new Set(rows.all().map(({ info }) => instanceKey(info.ident)));
    for (const { status } of this.board.entries()) {
      const key = instanceKey(status.ident);
      if (!stays.has(key) && !this.#standing.has(key)) this.board.remove(status.ident);
    }
    for (const { info, error } of refused) this.board.set(info, 'failed', error.message, error);

    const touched = new Set([...wanted.map(({ ident }) => instanceKey(ident)), ...unwanted]);
    const running = [...this.#runner.running.entries()]
      .filter(([key]) => touched.has(key))
      .map(([, info]): RunningInstance => ({ info, failed: this.#runner.hasFailed(info) }));
    await phase(this.#options.logger, 'update instances', {}, () =>
      this.#carryOut(planInstances(wanted, running), signal),
    );
    await this.#removeUnwanted(signal);
    await this.#runner.removeItems();
    this.#standing.show();
    this.#offline.check();
  }

  /** What is gone for good is stopped while images of what comes are fetched; what changes runs on until they are here. */
  async #carryOut(steps: readonly Step[], signal: AbortSignal): Promise<void> {
    for (const { do: what, info, because } of steps) {
      const fields = { instance: instanceName(info.ident), version: info.version, because };
      if (what === 'keep') this.#options.logger.debug(fields, what);
      else this.#options.logger.info(fields, what);
    }
    const stops = steps.filter((step) => step.do === 'stop');
    const starts = steps.filter((step) => step.do === 'start').map(({ info }) => info);
    const returning = new Set(starts.map(({ ident }) => instanceKey(ident)));
    const { logger } = this.#options;
    const stopAll = async (those: readonly Step[]) => {
      if (those.length === 0) return;
      const stop = () => this.#runner.stopAll(those, signal);
      await phase(logger, 'stop instances', { instances: those.length }, stop);
    };
    const [items] = await Promise.all([
      phase(logger, 'install items', {}, () => this.#runner.install(starts, signal)),
      stopAll(stops.filter(({ info }) => !returning.has(instanceKey(info.ident)))),
    ]);
    await stopAll(stops.filter(({ info }) => returning.has(instanceKey(info.ident))));
    await phase(logger, 'start instances', { instances: starts.length }, () =>
      this.#runner.startAll(starts, items, signal),
    );
  }

  /** Rows that the CM does not want any more, whose containers are stopped; what fails stays for another try. */
  async #removeUnwanted(signal: AbortSignal, { stopAgain } = { stopAgain: false }): Promise<void> {
    const unwanted = this.#options.rows.all().filter(({ isWanted }) => !isWanted);
    if (stopAgain) {
      const left = unwanted.filter(({ info }) => this.#runner.running.has(instanceKey(info.ident)));
      await this.#runner.stopAll(
        left.map(({ info }): Step => ({ do: 'stop', info, because: 'it is no longer wanted' })),
        signal,
      );
    }
    const stopped = unwanted
      .map(({ info }) => info)
      .filter(({ ident }) => !this.#runner.running.has(instanceKey(ident)));
    if (stopped.length === 0) return;
    for (const { ident } of stopped) {
      this.board.remove(ident);
      this.#runner.items.delete(instanceKey(ident));
      this.#runner.held.delete(instanceKey(ident));
    }
    const released = await this.#runner.attempt('release networks', async () => {
      await this.#options.networks.release(
        stopped.filter(isService).map(({ ident }) => ident),
        signal,
      );
      return true;
    });
    if (!released) return;
    this.#options.rows.gone(stopped.map(({ ident }) => instanceKey(ident)));
    for (const { ident } of stopped) {
      for (const runtime of this.#runtimes.values()) runtime.forget(instanceId(ident));
      this.#options.onGone?.(ident);
    }
  }

  /** Starts what could not wait any longer, now that what it waited for is there. */
  #releaseHeld(): void {
    const free = [...this.#runner.held]
      .filter(([, dependencies]) => this.#gate.whyWait(dependencies) === undefined)
      .map(([key]) => key);
    if (free.length === 0) return;
    for (const key of free) this.#runner.held.delete(key);
    this.#enqueue('dependencies', async (signal) => {
      const wanted = this.#options.rows
        .all()
        .filter(({ info, isWanted }) => isWanted && free.includes(instanceKey(info.ident)))
        .map(({ info }): Step => ({ do: 'start', info, because: 'what it waited for is there' }));
      await this.#carryOut(wanted, signal);
    });
  }

  async #startExpired(signal: AbortSignal): Promise<void> {
    const keys = this.#offline.release();
    const wanted = this.#options.rows
      .all()
      .filter(({ info, isWanted }) => isWanted && keys.has(instanceKey(info.ident)));
    const stopped = wanted.filter(({ info }) => !this.#runner.running.has(instanceKey(info.ident)));
    const steps = stopped.map(({ info }): Step => ({ do: 'start', info, because: 'the cloud is back' }));
    await this.#carryOut(steps, signal);
    this.#offline.check();
  }

  /** What runs, with the time that each may do so without the cloud. */
  #limited(): OfflineInstance<InstanceInfo>[] {
    return this.running().map((instance) => {
      const item = this.#runner.items.get(instanceKey(instance.ident));
      return { instance, ttlMs: item?.itemConfig?.offlineTtlMs ?? 0 };
    });
  }

  async #stopExpired(expired: readonly InstanceInfo[], signal: AbortSignal): Promise<void> {
    if (!this.#offline.isOffline) return;
    this.#offline.hold(expired);
    const steps = expired.map((info): Step => ({ do: 'stop', info, because: OFFLINE_REASON }));
    await this.#runner.stopAll(steps, signal, { keepNetworks: true });
    this.#offline.check();
  }
}

function isService({ ident }: Pick<InstanceInfo, 'ident'>): boolean {
  return ident.type === 'service';
}

function isRunning(state: string | undefined): boolean {
  return state === 'active' || state === 'activating';
}
