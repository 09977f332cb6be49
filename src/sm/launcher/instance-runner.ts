/** Effects on instances: images, starts, stops and what follows them, each step told on the board. */
import {
  AosError,
  asAosError,
  type InstanceIdent,
  type InstanceState,
  type ItemIdent,
  instanceId,
  instanceKey,
  isAosError,
} from '../../core/index.ts';
import type { InstalledItem, InstanceInfo, InstanceNetwork } from '../model.ts';
import { type Dependency, readDependencies } from './dependencies.ts';
import type { Runtime } from './parts.ts';
import type { Step } from './plan-instances.ts';
import type { InstanceRecords, RunnerParts } from './runner-parts.ts';
import { hasPermissions, orThrow, type ReadyInstance, ServiceStarts } from './service-starts.ts';
import type { StatusBoard } from './status-board.ts';

export type ItemOutcome = InstalledItem | AosError;

export class InstanceRunner implements InstanceRecords {
  readonly running = new Map<string, InstanceInfo>();
  readonly items = new Map<string, InstalledItem>();
  readonly held = new Map<string, readonly Dependency[]>();
  readonly #options: RunnerParts;
  readonly #board: StatusBoard;
  readonly #services: ServiceStarts;

  constructor(options: RunnerParts) {
    this.#options = options;
    this.#board = options.board;
    this.#services = new ServiceStarts(options, this);
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
        const item = orThrow(items.get(instanceKey(info.ident))!);
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
      this.#services.start(
        ready.filter((instance) => !isComponent(instance)),
        signal,
      ),
      ...ready.filter(isComponent).map((instance) => this.#startComponent(instance, signal)),
    ]);
  }

  /** Networks of those that failed and that their runtime does not hold any more. */
  async takeDownFailed(infos: readonly InstanceInfo[], signal: AbortSignal): Promise<void> {
    const { runtimes, networks } = this.#options;
    const ids = infos
      .filter((info) => this.hasFailed(info) && !runtimes.get(info.runtimeId)?.holds(instanceId(info.ident)))
      .map(({ ident }) => instanceId(ident));
    if (ids.length > 0) await this.attempt('stop networks', () => networks.stop(ids, signal));
  }

  /** Firmware has neither network nor permissions, and its runtime alone says how it does (spec/sm.md 6, T-21). */
  async #startComponent({ info, item, runtime }: ReadyInstance, signal: AbortSignal): Promise<void> {
    const key = instanceKey(info.ident);
    this.#board.set(info, 'activating', 'it is being installed');
    try {
      this.#options.rows.launching([info]);
      this.items.set(key, item);
      this.running.set(key, info);
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

  /**
   * Versions that nothing wants now (T-27): whatever is on the node, since a version may never have run, and a kill may
   * have come before it was removed.
   */
  async removeItems(): Promise<void> {
    const infos = [...this.#options.rows.all().map(({ info }) => info), ...this.running.values()];
    const used = new Set(infos.map(({ ident, version }) => versionKey({ itemId: ident.itemId, version })));
    for (const { itemId, version } of this.#options.images.installed()) {
      if (used.has(versionKey({ itemId, version }))) continue;
      try {
        await this.#options.images.remove(itemId, version);
      } catch (error) {
        if (!isAosError(error, 'notFound')) {
          this.#options.logger.warn({ item: itemId, version }, `cannot remove: ${asAosError(error).message}`);
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

function versionKey({ itemId, version }: ItemIdent): string {
  return JSON.stringify([itemId, version]);
}

function itemKey({ ident, version, manifestDigest }: InstanceInfo): string {
  return JSON.stringify([ident.itemId, ident.type, version, manifestDigest]);
}
