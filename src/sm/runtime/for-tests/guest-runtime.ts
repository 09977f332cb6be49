/**
 * A runtime that is none: guests of a hypervisor, which is an object in memory. It shows what an adapter needs (docs/runtimes.md),
 * and that nothing of the launcher depends on containers.
 */
import { isDeepStrictEqual } from 'node:util';
import {
  AosError,
  asAosError,
  type Clock,
  instanceId,
  runtimeId,
  systemClock,
  throwIfCanceled,
  toErrorInfo,
} from '../../../core/index.ts';
import type { AdoptedInstance, InstanceChange, Runtime } from '../../launcher/index.ts';
import type { InstalledItem, InstanceInfo, StartRequest } from '../../model.ts';
import { exitError, giveUpError, planRestart, type RunParameters, recordRestart } from '../../supervision/index.ts';

/** What the hypervisor keeps of a guest, so that whoever comes later knows how it was started and how it ended. */
export interface Guest {
  readonly info: InstanceInfo;
  readonly run: RunParameters;
  readonly command: string;
  /** Another one for each boot. */
  readonly boot: number;
  exitCode?: number;
}

/** Outlives the adapter, as a hypervisor does. */
export class Hypervisor {
  readonly guests = new Map<string, Guest>();
  #boots = 0;
  readonly #watchers = new Set<(id: string) => void>();

  /** Throws when the guest has nothing to boot. */
  async boot(id: string, guest: Omit<Guest, 'boot' | 'exitCode'>): Promise<void> {
    await Promise.resolve();
    if (guest.command === 'cannot start') throw new AosError('runtime', 'the guest has no kernel');
    this.#boots += 1;
    const { info, run, command } = guest;
    this.guests.set(id, { info, run, command, boot: this.#boots });
    if (command === 'falls') setTimeout(() => this.end(id, 3), 20);
  }

  end(id: string, exitCode: number): void {
    const guest = this.guests.get(id);
    if (guest === undefined || guest.exitCode !== undefined) return;
    guest.exitCode = exitCode;
    for (const watcher of this.#watchers) watcher(id);
  }

  onEnd(watcher: (id: string) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }
}

/** One instance under supervision. */
interface Held {
  readonly info: InstanceInfo;
  readonly over: AbortController;
  state: InstanceChange['state'];
  restartsAtMs: readonly number[];
  isOver: boolean;
}

export class GuestRuntime implements Runtime {
  readonly type = 'guests';
  readonly runtimeId = runtimeId(this.type, 'node0');
  readonly #hypervisor: Hypervisor;
  readonly #clock: Clock;
  readonly #held = new Map<string, Held>();
  readonly #listeners = new Set<(change: InstanceChange) => void>();
  readonly #unwatch: () => void;

  constructor(hypervisor: Hypervisor, clock: Clock = systemClock) {
    this.#hypervisor = hypervisor;
    this.#clock = clock;
    this.#unwatch = hypervisor.onEnd((id) => void this.#ended(id));
  }

  async adopt(
    known: readonly InstanceInfo[],
    _items: ReadonlyMap<string, InstalledItem>,
    _signal: AbortSignal,
  ): Promise<readonly AdoptedInstance[]> {
    const wanted = new Map(known.map((info) => [instanceId(info.ident), info]));
    const adopted: AdoptedInstance[] = [];
    for (const [id, guest] of [...this.#hypervisor.guests]) {
      if (!isDeepStrictEqual(wanted.get(id), guest.info)) {
        this.#hypervisor.guests.delete(id);
        continue;
      }
      const state = guest.exitCode === undefined ? 'active' : 'inactive';
      this.#held.set(id, { info: guest.info, over: new AbortController(), state, restartsAtMs: [], isOver: false });
      adopted.push({ ident: guest.info.ident, state, because: 'it went on while the service manager was away' });
      if (guest.exitCode !== undefined) void this.#ended(id);
    }
    return adopted;
  }

  async start({ info, item }: StartRequest, signal: AbortSignal): Promise<void> {
    const id = instanceId(info.ident);
    if (this.#held.get(id)?.state === 'active') throw new AosError('alreadyExist', `${id} runs already`);
    const held: Held = { info, over: new AbortController(), state: 'inactive', restartsAtMs: [], isOver: false };
    this.#held.set(id, held);
    this.#tell(held, 'activating', 'it is being started');
    const { runParameters: run } = item.itemConfig!;
    try {
      await this.#hypervisor.boot(id, { info, run, command: item.imageConfig!.config.cmd.join(' ') });
      throwIfCanceled(AbortSignal.any([signal, held.over.signal]));
    } catch (error) {
      this.#hypervisor.guests.delete(id);
      held.isOver = true;
      const failure = asAosError(error);
      if (!held.over.signal.aborted) this.#tell(held, 'failed', failure.message, failure);
      throw failure;
    }
    this.#tell(held, 'active', 'its guest runs');
  }

  async stop(id: string, _signal: AbortSignal): Promise<void> {
    const held = this.#held.get(id);
    if (!held) throw new AosError('notFound', `no guest ${id}`);
    held.over.abort(new AosError('canceled', 'it is being stopped'));
    this.#hypervisor.guests.delete(id);
    this.#held.delete(id);
    this.#tell(held, 'inactive', 'it was stopped');
  }

  holds(id: string): boolean {
    const held = this.#held.get(id);
    return held !== undefined && !held.isOver;
  }

  forget(): void {
    // Nothing is remembered of a guest that is gone.
  }

  onChange(listener: (change: InstanceChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Guests go on without us. */
  close(): void {
    this.#unwatch();
    for (const { over } of this.#held.values()) over.abort(new AosError('canceled', 'the service manager ends'));
    this.#held.clear();
  }

  /** As a policy of restarts wants it; a host without one of its own uses ours (`planRestart`). */
  async #ended(id: string): Promise<void> {
    const held = this.#held.get(id);
    const guest = this.#hypervisor.guests.get(id);
    if (!held || guest?.exitCode === undefined) return;
    const cause = exitError({ status: guest.exitCode, outOfMemory: false });
    const decision = planRestart(guest.run, held, this.#clock.monotonicMs(), 0);
    if (decision.do === 'giveUp') {
      this.#hypervisor.guests.delete(id);
      held.isOver = true;
      this.#tell(held, 'failed', decision.because, giveUpError(decision.restarts, cause));
      return;
    }
    this.#tell(held, 'failed', decision.because, cause);
    try {
      await this.#clock.sleep(decision.pauseMs, held.over.signal);
      held.restartsAtMs = recordRestart(held, this.#clock.monotonicMs(), decision.pauseMs).restartsAtMs;
      await this.#hypervisor.boot(id, guest);
      this.#tell(held, 'active', 'its guest runs again');
    } catch (error) {
      if (!held.over.signal.aborted) throw error;
    }
  }

  #tell(held: Held, state: Held['state'], because: string, error?: AosError): void {
    held.state = state;
    const { ident } = held.info;
    const change = { ident, state, because, ...(error && { error: toErrorInfo(error) }) };
    for (const listener of this.#listeners) listener(change);
  }
}
