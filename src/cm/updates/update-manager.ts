/**
 * Brings the unit to its desired state (spec/cm.md 2):
 *
 *     none → downloading → pending → installing → launching → activating → finalizing → none
 *
 * Each stage is stored before it begins and can be repeated, so a killed CM goes on where it was. A newer status ends
 * whatever runs and starts over; a stop ends it too and leaves what is stored as it is.
 */
import { isDeepStrictEqual } from 'node:util';
import {
  AosError,
  asAosError,
  type Clock,
  isAosError,
  type Logger,
  type PhaseName,
  phase,
  systemClock,
  throwIfCanceled,
  type UpdateState,
} from '../../core/index.ts';
import type { DesiredStatus, RefusedEntry } from '../../protocol/index.ts';
import type { SignatureTrust } from '../../storage/index.ts';
import type { EventSink } from '../events/index.ts';
import type { WantedItem } from '../images/index.ts';
import type { InstanceStatus, ItemStatus, RunRequest } from '../model.ts';
import { UPDATE } from '../numbers.ts';
import { untilStored } from '../until-stored.ts';
import { carryOutOrders, type OrderReports, type OrderTargets } from './carry-out-orders.ts';
import { mergeDesired, wantedItems } from './desired.ts';
import type { Desired } from './desired-model.ts';
import { type Origin, whyBundleIsOld, whyIgnored, whyOlder } from './origin.ts';
import { planUpdate, type UpdateFacts } from './plan-update.ts';
import { kindsOf, type UpdateKind } from './release-rules.ts';
import { isRollingBack, planRollBack, type RejectedItem, stillRejected, wantsRollback } from './roll-back.ts';
import { afterDownload, runRequests } from './run-requests.ts';
import { untilActive } from './until-active.ts';
import type { UpdateStore } from './update-store.ts';

export interface UpdateImages {
  items(): readonly ItemStatus[];
  download(wanted: readonly WantedItem[], trust: SignatureTrust, signal: AbortSignal): Promise<void>;
  install(
    wanted: readonly WantedItem[],
    isUsed: (itemId: string, version: string) => boolean,
    signal: AbortSignal,
  ): Promise<void>;
  /** The `update` members of the item configurations of a version. Throws `notFound`. */
  updateRules(itemId: string, version: string): Promise<readonly unknown[]>;
}

export interface UpdateLauncher {
  launch(requests: readonly RunRequest[], signal: AbortSignal): Promise<void>;
  statuses(): readonly InstanceStatus[];
  subscribe(listener: (changed: readonly InstanceStatus[]) => void): () => void;
}

export interface UpdateReports extends OrderReports {
  /** A full unit status, when the cloud is connected. */
  sendFull(): void;
}

export interface UpdateManagerOptions {
  readonly store: UpdateStore;
  readonly images: UpdateImages;
  readonly launcher: UpdateLauncher;
  readonly nodes: OrderTargets['nodes'];
  readonly unitConfig: OrderTargets['unitConfig'];
  readonly reports: UpdateReports;
  /** Where an update waits for its release. Absent: it never waits. */
  readonly gate?: { untilOpen(kinds: readonly UpdateKind[], signal: AbortSignal): Promise<void> };
  /** Whom to believe about signatures, given the certificates of a desired status. */
  readonly trust: (desired: Desired) => SignatureTrust;
  readonly events: EventSink;
  readonly logger: Logger;
  readonly clock?: Clock;
}

type Stage = Exclude<UpdateState, 'none'>;

interface StageAction {
  /** Answers the next stage when it is another one than `next`. */
  // biome-ignore lint/suspicious/noConfusingVoidType: most stages have nothing to answer
  readonly run: (desired: Desired, signal: AbortSignal) => Promise<UpdateState | void>;
  readonly next: UpdateState;
}

/** How far an update is, for those who watch it. */
export interface UpdateProgress {
  readonly state: UpdateState;
  /** Why the last update ended early; absent when it did not. */
  readonly error?: AosError | undefined;
}

/** Stages that take their time, under the names of the journal. */
const PHASES: Readonly<Partial<Record<UpdateState, PhaseName>>> = {
  downloading: 'download update items',
  installing: 'install update items',
  launching: 'launch instances',
  activating: 'activate instances',
  finalizing: 'finalize update',
};

export class UpdateManager {
  readonly #options: UpdateManagerOptions;
  readonly #clock: Clock;
  readonly #stopping = new AbortController();
  readonly #stages: Readonly<Record<Stage, StageAction>>;
  #state: UpdateState = 'none';
  #sinceMs = 0;
  #desired: Desired | undefined;
  #rejected: readonly RejectedItem[] = [];
  #error: AosError | undefined;
  /** When the cloud last made a desired status, changed or not. Not stored: what is the same again is not written. */
  #cloudSaid: string | undefined;
  readonly #watchers = new Set<(progress: UpdateProgress) => void>();
  /** Ends the wait for room for a desired status: a newer one came. */
  #owed = new AbortController();
  /** Ends the present run in favour of a newer status. */
  #run = new AbortController();
  #wake: (() => void) | undefined;
  #worker: Promise<void> | undefined;

  constructor(options: UpdateManagerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    const { images, trust, gate } = options;
    this.#stages = {
      downloading: {
        run: (desired, signal) => images.download(this.#wantedItems(desired), trust(desired), signal),
        next: 'pending',
      },
      pending: {
        run: async (desired, signal) => {
          // The way back to what ran before waits for nobody.
          if (isRollingBack(this.#rejected, options.launcher.statuses())) return;
          await gate?.untilOpen(kindsOf(desired, this.#facts()), signal);
        },
        next: 'installing',
      },
      installing: { run: (desired, signal) => carryOutOrders(desired, options, signal), next: 'launching' },
      launching: { run: (desired, signal) => this.#launch(desired, signal), next: 'activating' },
      activating: { run: (desired, signal) => this.#activate(desired, signal), next: 'finalizing' },
      finalizing: {
        run: (desired, signal) =>
          images.install(this.#wantedItems(desired), (itemId, version) => this.#isUsed(itemId, version), signal),
        next: 'none',
      },
    };
  }

  get state(): { readonly state: UpdateState; readonly since: string } {
    return { state: this.#state, since: new Date(this.#sinceMs).toISOString() };
  }

  /** What was accepted last; undefined on a unit that was never told anything. */
  get desired(): Desired | undefined {
    return this.#desired;
  }

  /** Takes up what a former process left. */
  start(): void {
    const { store, logger } = this.#options;
    const stored = store.load(logger);
    this.#desired = stored.desired;
    this.#rejected = stored.rejected;
    this.#state = stored.state;
    this.#sinceMs = stored.sinceMs;
    if (stored.state !== 'none') {
      this.#record(`goes on with ${stored.state}`, 'the CM was restarted while an update ran');
    }
    this.#worker = this.#work();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#wake?.();
    await this.#worker;
  }

  /** Tells how far it is, at once and at each change; returns the function that ends it. */
  watch(listener: (progress: UpdateProgress) => void): () => void {
    this.#watchers.add(listener);
    listener(this.#progress());
    return () => this.#watchers.delete(listener);
  }

  /** What would come of a desired status at this moment; nothing is changed. */
  consider(message: DesiredStatus, refused: readonly RefusedEntry[] = []) {
    const wanted = mergeDesired(message, this.#desired, refused);
    const items = this.#options.images.items();
    const rejected = stillRejected(this.#rejected, wanted);
    const { requests } = runRequests(wanted, afterDownload(items, wantedItems(wanted, rejected)));
    return { wanted, decision: this.#decide(wanted), requests };
  }

  /** Why a bundle is older than what the unit was told; undefined when it may be accepted. */
  whyOld(bundle: Extract<Origin, { source: 'bundle' }>): string | undefined {
    return whyBundleIsOld(bundle, this.#desired?.origin, this.#cloudSaid);
  }

  /**
   * Takes a desired status. The same one again, when all is well, costs neither a write nor a process. `origin` says where
   * it comes from, where that is known: a message that was made before the bundle in force is not obeyed, one that was made
   * before another message is reported.
   */
  accept(message: DesiredStatus, refused: readonly RefusedEntry[] = [], origin?: Origin): void {
    const { store, reports, logger } = this.#options;
    let older: string | undefined;
    if (origin?.source === 'cloud') {
      const because = whyIgnored(origin, this.#desired?.origin);
      if (because) {
        this.#record('a desired status of the cloud is not obeyed', because);
        return;
      }
      older = whyOlder(origin, this.#desired?.origin, this.#cloudSaid);
      if (origin.createdAt > (this.#cloudSaid ?? '')) this.#cloudSaid = origin.createdAt;
    }
    const wanted: Desired = { ...mergeDesired(message, this.#desired, refused), ...(origin && { origin }) };
    const isOtherBundle = origin?.source === 'bundle' && !isDeepStrictEqual(origin, this.#desired?.origin);
    const hasNewRefusals = !isDeepStrictEqual(wanted.refusals, this.#desired?.refusals);
    const decision = this.#isFed(origin)
      ? ({ do: 'start', because: 'a bundle brings what was being downloaded' } as const)
      : this.#decide(wanted);
    if (decision.do === 'nothing' && !hasNewRefusals && !isOtherBundle) {
      logger.debug({}, 'no update required');
      return;
    }
    if (older) this.#record('obeys an older desired status', older);
    const rejected = stillRejected(this.#rejected, wanted);
    if (decision.do !== 'start') {
      const remembered = this.#state === 'none' ? { ...wanted, nodes: [], unitConfig: undefined } : wanted;
      store.accept(remembered, this.#state, this.#sinceMs, rejected);
      this.#desired = wanted;
      this.#rejected = rejected;
      if (hasNewRefusals) reports.sendFull();
      return;
    }
    const sinceMs = this.#clock.now().getTime();
    store.accept(wanted, 'downloading', sinceMs, rejected);
    this.#desired = wanted;
    this.#rejected = rejected;
    this.#error = undefined;
    this.#became('downloading', sinceMs);
    this.#record('started', decision.because);
    this.#run.abort(new AosError('canceled', 'a newer desired status came'));
    this.#run = new AbortController();
    this.#wake?.();
  }

  /**
   * As `accept`, for what the cloud does not say again once it is acknowledged: a disk that is full takes it later, unless
   * something newer comes before.
   */
  acceptInTime(message: DesiredStatus, refused?: readonly RefusedEntry[], origin?: Origin): void {
    this.#owed.abort();
    this.#owed = new AbortController();
    const signal = AbortSignal.any([this.#stopping.signal, this.#owed.signal]);
    this.#untilStored(() => this.accept(message, refused, origin), signal).catch((error: unknown) => {
      if (signal.aborted) return;
      this.#options.logger.error({ error: asAosError(error).message }, 'a desired status could not be accepted');
    });
  }

  #untilStored<T>(work: () => T | Promise<T>, signal: AbortSignal): Promise<T> {
    const onFull = (because: string) => this.#record('waits for room on the disk', because);
    return untilStored(work, { clock: this.#clock, signal, onFull });
  }

  /** A download that may wait for a cloud for ever begins anew when a bundle has its blobs. */
  #isFed(origin: Origin | undefined): boolean {
    return origin?.source === 'bundle' && this.#state === 'downloading';
  }

  #decide(wanted: Desired) {
    const facts = { ...this.#facts(), rejected: stillRejected(this.#rejected, wanted) };
    return planUpdate({ state: this.#state, accepted: this.#desired, wanted, facts });
  }

  #facts(): UpdateFacts {
    return { items: this.#options.images.items(), instances: this.#options.launcher.statuses() };
  }

  #wantedItems(desired: Desired): WantedItem[] {
    return wantedItems(desired, this.#rejected);
  }

  #record(what: string, because: string): void {
    this.#options.events.record({ about: { kind: 'update', id: 'update' }, what, because });
  }

  #progress(): UpdateProgress {
    return { state: this.#state, ...(this.#error && { error: this.#error }) };
  }

  #became(state: UpdateState, sinceMs: number): void {
    this.#state = state;
    this.#sinceMs = sinceMs;
    for (const tell of this.#watchers) tell(this.#progress());
  }

  async #work(): Promise<void> {
    const stopped = this.#stopping.signal;
    while (!stopped.aborted) {
      if (this.#state === 'none') {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      const run = this.#run.signal;
      try {
        const signal = AbortSignal.any([stopped, run]);
        await phase(this.#options.logger, 'process desired status', {}, () => this.#runThrough(signal));
        this.#record('finished', 'the unit is as the desired status says, as far as it could be');
      } catch (error) {
        if (stopped.aborted) return;
        if (run.aborted) continue;
        this.#giveUp(asAosError(error));
      }
      this.#options.reports.sendFull();
    }
  }

  async #runThrough(signal: AbortSignal): Promise<void> {
    while (this.#state !== 'none') {
      const { run, next } = this.#stages[this.#state];
      const name = PHASES[this.#state];
      // Each stage can be repeated.
      const work = () => this.#untilStored(() => run(this.#desired!, signal), signal);
      const other = name === undefined ? await work() : await phase(this.#options.logger, name, {}, work);
      throwIfCanceled(signal);
      if (other === undefined) await this.#untilStored(() => this.#enter(next), signal);
    }
  }

  #enter(state: UpdateState): void {
    const sinceMs = this.#clock.now().getTime();
    this.#options.store.enter(state, sinceMs);
    this.#became(state, sinceMs);
    this.#options.logger.info({ state }, 'the update goes on');
  }

  #giveUp(error: AosError): void {
    this.#record(`ended early, in ${this.#state}`, error.message);
    this.#error = error;
    try {
      this.#enter('none');
    } catch (storeError) {
      // The disk takes nothing: the next start repeats the stage, which changes nothing that is right.
      const text = asAosError(storeError).message;
      this.#options.logger.error({ error: text }, 'the end of an update could not be stored');
      this.#became('none', this.#sinceMs);
    }
  }

  async #launch(desired: Desired, signal: AbortSignal): Promise<void> {
    const { images, launcher, events } = this.#options;
    const { requests, remarks } = runRequests(desired, images.items());
    for (const { itemId, what, because } of remarks) {
      events.record({ about: { kind: 'item', id: itemId }, what, because });
    }
    await launcher.launch(requests, signal);
  }

  /** Waits until all have started or failed; what failed is rolled back when its author wants that. */
  async #activate(desired: Desired, signal: AbortSignal): Promise<UpdateState | undefined> {
    const { launcher } = this.#options;
    let timeout: AosError | undefined;
    try {
      await untilActive(launcher, UPDATE.activatingPauseMs, this.#clock, signal);
    } catch (error) {
      throwIfCanceled(signal);
      if (!isAosError(error, 'timeout')) throw error;
      timeout = error;
    }
    if (await this.#rollBack(desired)) return 'downloading';
    if (timeout) throw timeout;
    return undefined;
  }

  /** Begins the way back, in one write; false when there is nothing to go back from. */
  async #rollBack(desired: Desired): Promise<boolean> {
    const { store, events } = this.#options;
    const wishes = new Map(
      await Promise.all(
        desired.items.map(async ({ item, version }) => [item.id, await this.#wantsRollback(item.id, version)] as const),
      ),
    );
    const facts = { ...this.#facts(), rejected: this.#rejected };
    const plan = planRollBack(desired, { ...facts, wantsRollback: (itemId) => wishes.get(itemId) === true });
    if (plan.length === 0) return false;
    const rejected = [...this.#rejected, ...plan.map(({ to: _, because: __, ...one }) => one)];
    const sinceMs = this.#clock.now().getTime();
    store.rollBack(rejected, 'downloading', sinceMs);
    this.#rejected = rejected;
    this.#became('downloading', sinceMs);
    for (const { itemId, version, to, because } of plan) {
      const about = { kind: 'item', id: `${itemId} ${version}` } as const;
      const words = `an instance of it did not become active: ${because}`;
      events.record({ about, what: `is rolled back to version ${to}`, because: words });
    }
    return true;
  }

  async #wantsRollback(itemId: string, version: string): Promise<boolean> {
    const { images, logger } = this.#options;
    try {
      return (await images.updateRules(itemId, version)).some((rules) => wantsRollback(rules));
    } catch (error) {
      if (!isAosError(error, 'notFound')) {
        logger.warn(
          { itemId, version, error: asAosError(error).message },
          'nobody knows whether it may be rolled back',
        );
      }
      return false;
    }
  }

  #isUsed(itemId: string, version: string): boolean {
    return this.#options.launcher
      .statuses()
      .some((status) => status.ident.itemId === itemId && status.version === version);
  }
}
