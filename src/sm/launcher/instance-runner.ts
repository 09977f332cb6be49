/** Effects on instances: images, networks, containers, permissions, each step told on the board. */
import {
  AosError,
  asAosError,
  type InstanceIdent,
  type InstanceState,
  instanceId,
  instanceKey,
  isAosError,
  type Logger,
  phase,
} from '../../core/index.ts';
import type { InstalledItem, InstanceInfo } from '../model.ts';
import { DEPENDENCY_WAIT_MS } from '../numbers.ts';
import { type Dependency, findCircles, readDependencies, waitsOf } from './dependencies.ts';
import type { InstanceRows } from './instance-rows.ts';
import type { Images, InstanceNetwork, Networks, Permissions, Runtime } from './parts.ts';
import type { Step } from './plan-instances.ts';
import type { StartGate } from './start-gate.ts';
import type { StatusBoard } from './status-board.ts';

export interface RunnerParts {
  readonly rows: InstanceRows;
  readonly runtimes: ReadonlyMap<string, Runtime>;
  readonly images: Images;
  readonly networks: Networks;
  readonly permissions: Permissions;
  readonly board: StatusBoard;
  readonly gate: StartGate;
  readonly logger: Logger;
  /** Whether it must not run now, with the reason; asked when its item is known. */
  readonly mayNotRun: (info: InstanceInfo, item: InstalledItem) => string | undefined;
  /** Hears why an instance could not be started, each time. */
  readonly onStartFailed?: ((ident: InstanceIdent, error: AosError) => void) | undefined;
}

export type ItemOutcome = InstalledItem | AosError;

export class InstanceRunner {
  /** Instances with a container, or with one that failed, as they were started; by key. */
  readonly running = new Map<string, InstanceInfo>();
  /** Items of instances that run or ran; by key of the instance. */
  readonly items = new Map<string, InstalledItem>();
  /** What instances wait for that were not started because of it; by key. */
  readonly held = new Map<string, readonly Dependency[]>();
  readonly #options: RunnerParts;
  readonly #board: StatusBoard;

  constructor(options: RunnerParts) {
    this.#options = options;
    this.#board = options.board;
  }

  hasFailed({ ident }: InstanceInfo): boolean {
    return this.#stateOf(ident) === 'failed';
  }

  /** Items by key of the instance. */
  async install(infos: readonly InstanceInfo[], signal: AbortSignal): Promise<Map<string, ItemOutcome>> {
    const distinct = new Map(infos.map((info) => [itemKey(info), info]));
    const outcomes = new Map<string, ItemOutcome>();
    const install = async (info: InstanceInfo): Promise<void> => {
      const { ident, version, manifestDigest } = info;
      const item = { itemId: ident.itemId, type: ident.type, version, manifestDigest };
      try {
        outcomes.set(itemKey(info), await this.#options.images.install(item, signal));
      } catch (error) {
        outcomes.set(itemKey(info), asAosError(error));
        this.#options.logger.warn({ item: ident.itemId, version }, `cannot install: ${asAosError(error).message}`);
      }
    };
    await Promise.all([...distinct.values()].map(install));
    return new Map(infos.map((info) => [instanceKey(info.ident), outcomes.get(itemKey(info))!]));
  }

  /** All at once: the sum is one stop timeout. Failures stay on the board and in the rows. */
  async stopAll(
    steps: readonly Step[],
    signal: AbortSignal,
    { keepNetworks } = { keepNetworks: false },
  ): Promise<void> {
    const stopped: InstanceInfo[] = [];
    const stop = async ({ info, because }: Step): Promise<void> => {
      try {
        await this.#stopContainer(info, signal);
        this.#board.set(info, 'inactive', because);
        stopped.push(info);
      } catch (error) {
        this.#board.set(info, 'failed', because, asAosError(error, 'cannot stop'));
        // Nothing of it is left, although its runtime did not do its part: it must not keep its network, nor its successor.
        if (this.#isGone(info)) stopped.push(info);
      }
    };
    await Promise.all(steps.map(stop));
    if (stopped.length === 0) return;
    for (const { ident } of stopped) this.running.delete(instanceKey(ident));
    if (keepNetworks) return;
    const services = stopped.filter(({ ident }) => ident.type === 'service').map(({ ident }) => instanceId(ident));
    await this.attempt('stop networks', () => this.#options.networks.stop(services, signal));
  }

  #isGone(info: InstanceInfo): boolean {
    return info.ident.type === 'service' && !this.#options.runtimes.get(info.runtimeId)?.holds(instanceId(info.ident));
  }

  async #stopContainer(info: InstanceInfo, signal: AbortSignal): Promise<void> {
    const runtime = this.#options.runtimes.get(info.runtimeId);
    try {
      await runtime?.stop(instanceId(info.ident), signal);
    } catch (error) {
      if (!isAosError(error, 'notFound')) throw error;
    } finally {
      const { permissions } = this.#options;
      if (hasPermissions(this.items.get(instanceKey(info.ident)))) {
        await this.attempt('withdraw permissions', () => permissions.unregister(info.ident, signal));
      }
    }
  }

  async startAll(
    infos: readonly InstanceInfo[],
    items: ReadonlyMap<string, ItemOutcome>,
    signal: AbortSignal,
  ): Promise<void> {
    const ready: ReadyInstance[] = [];
    for (const info of infos) {
      try {
        // A stop that failed has left something of the former description behind.
        if (this.running.has(instanceKey(info.ident))) continue;
        const runtime = this.#runtimeOf(info);
        const item = require(items.get(instanceKey(info.ident))!);
        const because = this.#options.mayNotRun(info, item);
        const dependencies = readDependencies(item.itemConfig?.dependencies);
        if (because === undefined) ready.push({ info, item, runtime, dependencies });
        else this.#board.set(info, 'inactive', because);
      } catch (error) {
        this.#board.set(info, 'failed', 'it cannot be prepared', asAosError(error));
      }
    }
    const isComponent = ({ info }: ReadyInstance) => info.ident.type === 'component';
    await Promise.all([
      this.#startServices(this.#withoutCircles(ready.filter((instance) => !isComponent(instance))), signal),
      ...ready.filter(isComponent).map((instance) => this.#startComponent(instance, signal)),
    ]);
  }

  async #startServices(waiting: readonly ReadyInstance[], signal: AbortSignal): Promise<void> {
    if (waiting.length === 0) return;
    const networks = await phase(this.#options.logger, 'start networks', { instances: waiting.length }, () =>
      this.#options.networks.start(waiting, signal),
    );
    this.#options.rows.launching(waiting.map(({ info }) => info));
    const { gate } = this.#options;
    gate.setPending(
      waiting.map(({ info }) => info.ident),
      true,
    );
    // All are on the board before the first of them looks for those that it depends on.
    for (const { info } of waiting) this.#board.set(info, 'activating', 'it is being started');
    // The runtime bounds how many containers are started at the same time.
    await Promise.all(
      waiting.map(async (instance) => {
        await this.#startWhenReady(instance, networks.get(instanceId(instance.info.ident)), signal);
        gate.setPending([instance.info.ident], false);
      }),
    );
    await this.takeDownFailed(
      waiting.map(({ info }) => info),
      signal,
    );
  }

  /** Networks of those that failed and that their runtime does not hold any more. */
  async takeDownFailed(infos: readonly InstanceInfo[], signal: AbortSignal): Promise<void> {
    const { runtimes, networks } = this.#options;
    const ids = infos
      .filter((info) => this.hasFailed(info) && !runtimes.get(info.runtimeId)?.holds(instanceId(info.ident)))
      .map(({ ident }) => instanceId(ident));
    if (ids.length > 0) await this.attempt('stop networks', () => networks.stop(ids, signal));
  }

  async #startWhenReady(
    { info, item, runtime, dependencies }: ReadyInstance,
    network: InstanceNetwork | AosError | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const key = instanceKey(info.ident);
    this.held.delete(key);
    try {
      const given = require(network ?? new AosError('notFound', 'no network for it'));
      this.items.set(key, item);
      if (!(await this.#dependenciesAreThere(info, dependencies, signal))) return;
      this.#board.set(info, 'activating', 'it is being started');
      this.running.set(key, info);
      await this.#startOne(runtime, info, item, given, signal);
      // It may have ended again by now; the runtime has told so.
      if (this.#stateOf(info.ident) === 'activating') this.#board.set(info, 'active', 'it was started');
    } catch (error) {
      const failure = asAosError(error);
      // The runtime's own words say more.
      const isTold = this.#stateOf(info.ident) === 'failed' && this.running.has(key);
      if (!isTold) this.#board.set(info, 'failed', 'it cannot be started', failure);
      this.#options.onStartFailed?.(info.ident, failure);
    }
  }

  /** False: they did not come in time; it is started when they do. */
  async #dependenciesAreThere(
    info: InstanceInfo,
    dependencies: readonly Dependency[],
    signal: AbortSignal,
  ): Promise<boolean> {
    const { gate, networks } = this.#options;
    const because = gate.whyWait(dependencies);
    if (because === undefined) return true;
    this.#board.set(info, 'activating', `it waits: ${because}`);
    try {
      await gate.pass(dependencies, DEPENDENCY_WAIT_MS, signal);
      return true;
    } catch (error) {
      if (!isAosError(error, 'timeout')) throw error;
      this.#board.set(info, 'failed', `it waits: ${error.message}`, error);
      this.held.set(instanceKey(info.ident), dependencies);
      await this.attempt('stop networks', () => networks.stop([instanceId(info.ident)], signal));
      return false;
    }
  }

  /** Those that wait for each other would wait for ever: they fail by name. */
  #withoutCircles(ready: readonly ReadyInstance[]): ReadyInstance[] {
    const waits = waitsOf(new Map(ready.map(({ info, dependencies }) => [info.ident.itemId, dependencies])));
    const circles = findCircles(waits);
    return ready.flatMap((instance) => {
      const { itemId } = instance.info.ident;
      const circle = circles.get(itemId);
      if (circle) this.#board.set(instance.info, 'failed', circle.message, circle);
      return circle ? [] : [{ ...instance, dependencies: waits.get(itemId) ?? [] }];
    });
  }

  async #startOne(
    runtime: Runtime,
    info: InstanceInfo,
    item: InstalledItem,
    network: InstanceNetwork,
    signal: AbortSignal,
  ): Promise<void> {
    const permissions = item.itemConfig?.permissions ?? {};
    const secret = hasPermissions(item)
      ? await this.#options.permissions.register(info.ident, permissions, signal)
      : undefined;
    await runtime.start({ info, item, network, ...(secret === undefined ? {} : { secret }) }, signal);
  }

  /** Firmware has neither network nor permissions, and its runtime alone says how it does (spec/sm.md 6, T-21). */
  async #startComponent({ info, item, runtime }: ReadyInstance, signal: AbortSignal): Promise<void> {
    const key = instanceKey(info.ident);
    this.#options.rows.launching([info]);
    this.items.set(key, item);
    this.running.set(key, info);
    this.#board.set(info, 'activating', 'it is being installed');
    try {
      await runtime.start({ info, item, network: NO_NETWORK }, signal);
    } catch (error) {
      this.#board.set(info, 'failed', 'it cannot be installed', asAosError(error));
    }
  }

  #runtimeOf(info: InstanceInfo): Runtime {
    const runtime = this.#options.runtimes.get(info.runtimeId);
    if (!runtime) throw new AosError('notFound', `runtime ${info.runtimeId} is not on this node`);
    const { type } = info.ident;
    if ((type === 'component') !== (runtime.runs === 'components')) {
      throw new AosError('notSupported', `runtime ${runtime.type} runs ${runtime.runs ?? 'services'}, no ${type}`);
    }
    return runtime;
  }

  #stateOf(ident: InstanceIdent): InstanceState | undefined {
    return this.#board.get(ident)?.status.state;
  }

  /** Versions that ran before and that nothing wants now (T-27). */
  async removeItems(before: readonly InstanceInfo[]): Promise<void> {
    const used = new Set(this.#options.rows.all().map(({ info }) => itemKey(info)));
    for (const info of this.running.values()) used.add(itemKey(info));
    const unused = new Map(before.filter((info) => !used.has(itemKey(info))).map((info) => [itemKey(info), info]));
    for (const { ident, version } of unused.values()) {
      try {
        await this.#options.images.remove(ident.itemId, version);
      } catch (error) {
        if (!isAosError(error, 'notFound')) {
          this.#options.logger.warn({ item: ident.itemId, version }, `cannot remove: ${asAosError(error).message}`);
        }
      }
    }
  }

  /** A step whose failure must not keep the others from being done; it is told. */
  async attempt<T>(doing: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      const failure = asAosError(error);
      const level = failure.code === 'canceled' ? 'info' : 'error';
      this.#options.logger[level]({ code: failure.code, ...failure.fields }, `cannot ${doing}: ${failure.message}`);
      return undefined;
    }
  }
}

const NO_NETWORK: InstanceNetwork = { hosts: [], dnsServers: [], hostname: '' };

interface ReadyInstance {
  readonly info: InstanceInfo;
  readonly item: InstalledItem;
  readonly runtime: Runtime;
  readonly dependencies: readonly Dependency[];
}

export function itemKey({ ident, version, manifestDigest }: InstanceInfo): string {
  return JSON.stringify([ident.itemId, ident.type, version, manifestDigest]);
}

function hasPermissions(item: InstalledItem | undefined): boolean {
  return Object.keys(item?.itemConfig?.permissions ?? {}).length > 0;
}

/** The value, or its error thrown. */
function require<T>(outcome: T | AosError): T {
  if (outcome instanceof AosError) throw outcome;
  return outcome;
}
