/**
 * The runtime `boot`: firmware in two slots (spec/sm.md 6.5 to 6.8, docs/decisions on firmware).
 *
 * What a request comes to is found by `answerRequest`, what is to be done with the slots by `nextBootStep`; `BootWork`
 * does it, beside, while the SM runs. Slots that are not there are looked for until they are.
 */
import {
  AosError,
  asAosError,
  canceledBy,
  instanceId,
  instanceKey,
  instanceName,
  isAosError,
  throwIfCanceled,
  toErrorInfo,
} from '../../core/index.ts';
import type { InstalledItem, InstanceInfo } from '../model.ts';
import { BootSlots, type BootSlotsOptions } from './boot-slots.ts';
import { answerRequest } from './boot-state.ts';
import { bootReport, standingOf, statusOf } from './boot-view.ts';
import { BootWork, type BootWorkOptions } from './boot-work.ts';
import { type Component, componentOf, defaultIdent } from './firmware-model.ts';
import type { FirmwareChange, FirmwareReport, FirmwareStart, StandingInstance } from './firmware-parts.ts';
import { FirmwareRuntime } from './firmware-runtime.ts';
import type { LookAgain } from './look-again.ts';

/** Within some six minutes; then it is for the next request, or the next boot. */
const MAX_WORK_TRIES = 10;

export interface BootRuntimeOptions extends BootSlotsOptions, BootWorkOptions {
  /** When slots that could not be used, or written, are worth another try. */
  readonly lookAgain: LookAgain;
}

export class BootRuntime extends FirmwareRuntime {
  readonly #options: BootRuntimeOptions;
  readonly #slots: BootSlots;
  readonly #work: BootWork;
  /** What is to be installed once there are slots, by instance id. */
  readonly #waiting = new Map<string, FirmwareStart>();
  /** The health check, or the copy of a slot, that goes on. */
  #background: Promise<void> = Promise.resolve();
  #abort = new AbortController();
  /** Why it does not go on, and how often it has failed in a row. */
  #failure: AosError | undefined;
  #failures = 0;
  /** Looks for slots that cannot be used yet. */
  #search: Promise<void> | undefined;
  /** Looks in vain since the start. */
  #tries = 0;
  /** Requests and looks, one after another. */
  #turn: Promise<void> = Promise.resolve();
  readonly #closing = new AbortController();

  constructor(options: BootRuntimeOptions) {
    super(options.type, options.node);
    this.#options = options;
    this.#slots = new BootSlots(options);
    this.#work = new BootWork(options, this.#slots, {
      emit: (change) => this.emit(change),
      requestReboot: (because) => this.requestReboot(because),
    });
  }

  /** Takes up what a power cut or a reboot left; what takes its time goes on beside. */
  async adopt(
    known: readonly InstanceInfo[],
    items: ReadonlyMap<string, InstalledItem>,
    signal: AbortSignal,
  ): Promise<readonly FirmwareChange[]> {
    for (const info of known) this.want(info);
    await this.#slots.open(signal);
    if (this.#slots.isUsable) {
      this.#goOn();
    } else {
      for (const info of known) {
        const item = items.get(instanceKey(info.ident));
        if (item) this.#waiting.set(instanceId(info.ident), { info, item });
      }
      this.#lookOut();
    }
    return known.flatMap((info) => statusOf(info, this.#slots.view));
  }

  /** Resolves when the new slot is written and the node is about to boot it. Throws why it is refused. */
  async start(request: FirmwareStart, signal: AbortSignal): Promise<void> {
    const id = instanceId(request.info.ident);
    this.want(request.info);
    await this.#inTurn(signal, async () => {
      if (!this.#slots.isUsable) {
        await this.#slots.open(signal);
        if (this.#slots.broken) {
          this.#waiting.set(id, request);
          this.#lookOut();
          throw this.#slots.broken;
        }
        this.#waiting.delete(id);
        await this.#takeUp(signal, request.info);
      }
      await this.#start(request, signal);
    });
  }

  override async stop(id: string): Promise<void> {
    this.#waiting.delete(id);
    await super.stop(id);
  }

  override forget(id: string): void {
    this.#waiting.delete(id);
    super.forget(id);
  }

  standing(): readonly StandingInstance[] {
    const ident = defaultIdent(this.type, this.node);
    const isWanted = (component: Component) => this.isWanted(component);
    return standingOf(this.#slots.view, { ident, runtimeId: this.runtimeId, isWanted });
  }

  report(): FirmwareReport {
    const report = bootReport(this.type, this.#slots.devices, this.#slots.view);
    const tries = this.#tries + this.#failures;
    return { ...report, ...(this.#failure && { error: this.#failure.message }), ...(tries > 0 && { tries }) };
  }

  /** Resolves when nothing goes on beside any more; a search for the slots may. */
  async settled(): Promise<void> {
    await this.#background;
  }

  async close(): Promise<void> {
    this.#closing.abort(new AosError('canceled', 'the service manager stops'));
    await this.#search;
    await this.#pause();
  }

  async #start(request: FirmwareStart, signal: AbortSignal): Promise<void> {
    const { ident } = request.info;
    const component = componentOf(request.info);
    switch (answerRequest(component, this.#slots.installed, this.#slots.pending)) {
      case 'it is installed':
        this.emit({ ident, state: 'active', because: 'it is installed' });
        return;
      case 'it is under way':
        return;
      case 'install':
    }
    await this.#pause();
    try {
      await this.#work.install(request, component, signal);
    } finally {
      this.#goOn();
    }
  }

  /** Does what is to be done until something is to be waited for. */
  #goOn(): void {
    const { signal } = this.#abort;
    this.#background = this.#background
      .then(() => this.#work.advance(signal))
      .then(
        () => this.#setFailure(undefined),
        (error) => {
          this.#tellFailure(error, 'work on the boot slots failed');
          if (!isAosError(error, 'canceled')) this.#goOnLater(asAosError(error), signal);
        },
      );
  }

  /** A full disk may have room again; a slot that cannot be written is not to be worn out. */
  #goOnLater(failure: AosError, signal: AbortSignal): void {
    this.#setFailure(failure);
    if (this.#failures >= MAX_WORK_TRIES) return;
    this.#options
      .lookAgain(this.#failures, signal)
      .then(() => {
        // Whoever paused it meanwhile lets it go on.
        if (!signal.aborted) this.#goOn();
      })
      .catch((error) => this.#tellFailure(error, 'work on the boot slots is not tried again'));
  }

  #setFailure(failure: AosError | undefined): void {
    this.#failure = failure;
    this.#failures = failure ? this.#failures + 1 : 0;
  }

  async #pause(): Promise<void> {
    this.#abort.abort(new AosError('canceled', 'something else is to be done with the slots'));
    await this.#background;
    this.#abort = new AbortController();
  }

  #lookOut(): void {
    this.#search ??= this.#lookUntilFound(this.#closing.signal).catch((error) =>
      this.#tellFailure(error, 'the boot slots are not looked for any more'),
    );
  }

  async #lookUntilFound(signal: AbortSignal): Promise<void> {
    while (!this.#slots.isUsable) {
      this.#tries += 1;
      await this.#options.lookAgain(this.#tries, signal);
      await this.#inTurn(signal, async () => {
        // A request may have found them meanwhile.
        if (this.#slots.isUsable) return;
        await this.#slots.open(signal);
        if (this.#slots.isUsable) await this.#takeUp(signal);
      });
    }
  }

  /** The slots are there at last: all is told anew, what went on goes on, and what waited is installed, but for `besides`. */
  async #takeUp(signal: AbortSignal, besides?: InstanceInfo): Promise<void> {
    this.#tries = 0;
    const waiting = new Map(this.#waiting);
    this.#waiting.clear();
    const { view } = this.#slots;
    this.#options.logger.info({ runtime: this.type, slots: this.#slots.devices }, 'the boot slots were found');
    this.tellStanding();
    const toInstall: FirmwareStart[] = [];
    for (const info of this.wanted.values()) {
      const changes = statusOf(info, view);
      for (const change of changes) this.emit(change);
      const request = waiting.get(instanceId(info.ident));
      if (changes.length === 0 && request) toInstall.push(request);
      else if (changes.length === 0 && info !== besides) this.#tellNoImage(info);
    }
    this.#goOn();
    for (const request of toInstall) await this.#startWaiting(request, signal);
  }

  #tellNoImage({ ident, version }: InstanceInfo): void {
    const text = `the image of ${instanceName(ident)} ${version} is not on this node; it is fetched with the next update`;
    this.emit({ ident, state: 'failed', error: toErrorInfo(new AosError('notFound', text)), because: text });
  }

  /** Nobody waits for the answer, so it is told. */
  async #startWaiting(request: FirmwareStart, signal: AbortSignal): Promise<void> {
    const { ident } = request.info;
    this.emit({ ident, state: 'activating', because: 'the slots were found; it is being installed' });
    try {
      await this.#start(request, signal);
    } catch (error) {
      throwIfCanceled(signal);
      const failure = asAosError(error);
      this.emit({ ident, state: 'failed', error: toErrorInfo(failure), because: failure.message });
    }
  }

  async #inTurn(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    const before = this.#turn;
    const done = Promise.withResolvers<void>();
    this.#turn = before.then(() => done.promise);
    try {
      await unlessCanceled(before, signal);
      await work();
    } finally {
      done.resolve();
    }
  }

  #tellFailure(error: unknown, what: string): void {
    if (isAosError(error, 'canceled')) return;
    this.#options.logger.error({ runtime: this.type, error: asAosError(error).message }, what);
  }
}

/** Throws `canceled` when the signal comes first. */
async function unlessCanceled(before: Promise<void>, signal: AbortSignal): Promise<void> {
  throwIfCanceled(signal);
  const canceled = Promise.withResolvers<never>();
  const cancel = () => canceled.reject(canceledBy(signal));
  signal.addEventListener('abort', cancel, { once: true });
  try {
    await Promise.race([before, canceled.promise]);
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}
