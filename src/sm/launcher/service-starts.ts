/** Services are started at the same time, each when what it depends on is there (spec/sm.md 4.3, spec/beyond.md P-22). */
import {
  AosError,
  asAosError,
  type InstanceState,
  instanceId,
  instanceKey,
  isAosError,
  phase,
} from '../../core/index.ts';
import type { InstalledItem, InstanceInfo, InstanceNetwork } from '../model.ts';
import { DEPENDENCY_WAIT_MS } from '../numbers.ts';
import { type Dependency, findCircles, waitsOf } from './dependencies.ts';
import { growingParts } from './growing-parts.ts';
import type { Runtime } from './parts.ts';
import type { InstanceRecords, RunnerParts } from './runner-parts.ts';

/** Everything that a start needs but its network. */
export interface ReadyInstance {
  readonly info: InstanceInfo;
  readonly item: InstalledItem;
  readonly runtime: Runtime;
  readonly dependencies: readonly Dependency[];
}

export class ServiceStarts {
  readonly #parts: RunnerParts;
  readonly #records: InstanceRecords;

  constructor(parts: RunnerParts, records: InstanceRecords) {
    this.#parts = parts;
    this.#records = records;
  }

  /** Resolves when each is active, has failed, or is held back; none of it is thrown. */
  async start(ready: readonly ReadyInstance[], signal: AbortSignal): Promise<void> {
    const waiting = this.#withoutCircles(ready);
    if (waiting.length === 0) return;
    const { gate } = this.#parts;
    gate.setPending(
      waiting.map(({ info }) => info.ident),
      true,
    );
    // All are on the board before the first of them looks for those that it depends on.
    for (const { info } of waiting) this.#parts.board.set(info, 'activating', 'it is being started');
    const starts: Promise<void>[] = [];
    try {
      for (const part of growingParts(waiting)) {
        const given = await this.#networksOf(part, signal);
        // The runtime bounds how many containers are started at the same time.
        for (const instance of part) {
          const start = this.#startWhenReady(instance, given.get(instanceId(instance.info.ident)), signal);
          starts.push(start.finally(() => gate.setPending([instance.info.ident], false)));
        }
      }
    } finally {
      await Promise.all(starts);
      // Also those that a failure has kept from being started.
      gate.setPending(
        waiting.map(({ info }) => info.ident),
        false,
      );
    }
    await this.#records.takeDownFailed(
      waiting.map(({ info }) => info),
      signal,
    );
  }

  /** What fails for all of a part, as on a full disk, is what each of it fails with. */
  async #networksOf(
    part: readonly ReadyInstance[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, InstanceNetwork | AosError>> {
    const { logger, networks, rows } = this.#parts;
    try {
      const given = await phase(logger, 'start networks', { instances: part.length }, () =>
        networks.start(part, signal),
      );
      rows.launching(part.map(({ info }) => info));
      return given;
    } catch (error) {
      const failure = asAosError(error);
      logger.error({ code: failure.code, instances: part.length }, `cannot start networks: ${failure.message}`);
      return new Map(part.map(({ info }) => [instanceId(info.ident), failure]));
    }
  }

  async #startWhenReady(
    { info, item, runtime, dependencies }: ReadyInstance,
    network: InstanceNetwork | AosError | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const key = instanceKey(info.ident);
    this.#records.held.delete(key);
    try {
      const given = orThrow(network ?? new AosError('notFound', 'no network for it'));
      this.#records.items.set(key, item);
      if (!(await this.#dependenciesAreThere(info, dependencies, signal))) return;
      this.#parts.board.set(info, 'activating', 'it is being started');
      this.#records.running.set(key, info);
      await this.#startOne(runtime, info, item, given, signal);
      // It may have ended again by now; the runtime has told so.
      if (this.#stateOf(info) === 'activating') this.#parts.board.set(info, 'active', 'it was started');
    } catch (error) {
      const failure = asAosError(error);
      // The runtime's own words say more.
      const isTold = this.#stateOf(info) === 'failed' && this.#records.running.has(key);
      if (!isTold) this.#parts.board.set(info, 'failed', 'it cannot be started', failure);
      this.#parts.onStartFailed?.(info.ident, failure);
    }
  }

  /** False: they did not come in time; it is started when they do. */
  async #dependenciesAreThere(
    info: InstanceInfo,
    dependencies: readonly Dependency[],
    signal: AbortSignal,
  ): Promise<boolean> {
    const { gate, networks } = this.#parts;
    const because = gate.whyWait(dependencies);
    if (because === undefined) return true;
    this.#parts.board.set(info, 'activating', `it waits: ${because}`);
    try {
      await gate.pass(dependencies, DEPENDENCY_WAIT_MS, signal);
      return true;
    } catch (error) {
      if (!isAosError(error, 'timeout')) throw error;
      this.#parts.board.set(info, 'failed', `it waits: ${error.message}`, error);
      this.#records.held.set(instanceKey(info.ident), dependencies);
      await this.#records.attempt('stop networks', () => networks.stop([instanceId(info.ident)], signal));
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
      if (circle) this.#parts.board.set(instance.info, 'failed', circle.message, circle);
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
      ? await this.#parts.permissions.register(info.ident, permissions, signal)
      : undefined;
    await runtime.start({ info, item, network, ...(secret === undefined ? {} : { secret }) }, signal);
  }

  #stateOf({ ident }: InstanceInfo): InstanceState | undefined {
    return this.#parts.board.get(ident)?.status.state;
  }
}

export function hasPermissions(item: InstalledItem | undefined): boolean {
  return Object.keys(item?.itemConfig?.permissions ?? {}).length > 0;
}

export /** The value, or its error thrown. */
function orThrow<T>(outcome: T | AosError): T {
  if (outcome instanceof AosError) throw outcome;
  return outcome;
}
