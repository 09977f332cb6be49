/**
 * The runtime `boot`: firmware in two slots (spec/sm.md 6.5 to 6.8, docs/decisions on firmware).
 *
 * The slot that runs is never written. What is to be done is found by `nextBootStep` from the records and from what the
 * firmware booted; each step is on record before it is done, and can be done again after a power cut.
 */
import { AosError, asAosError, type Clock, type Logger, throwIfCanceled } from '../../core/index.ts';
import { type BootChooser, otherSlot, type SlotIndex } from '../../platform/boot/index.ts';
import type { Partition } from '../../platform/partitions/index.ts';
import type { Units } from '../../platform/systemd/index.ts';
import type { InstalledItem, InstanceInfo, NodeInfo } from '../model.ts';
import type { BootRecords } from './boot-records.ts';
import { type BootStep, type Installed, inactiveSlot, nextBootStep, type Pending } from './boot-state.ts';
import { type BootView, bootReport, standingOf, statusOf } from './boot-view.ts';
import {
  type Component,
  componentOf,
  defaultIdent,
  failureOf,
  imageOf,
  isSame,
  parseVersionFile,
  refuseDowngrade,
  restoreError,
  storeError,
} from './firmware-model.ts';
import type { FirmwareChange, FirmwareReport, FirmwareStart, StandingInstance } from './firmware-parts.ts';
import { FirmwareRuntime } from './firmware-runtime.ts';
import { checkHealth } from './health.ts';
import { checkBootImageType, copySlot, examineImage, verifySlot, writeImage } from './image.ts';

export interface BootHost {
  readonly slots: readonly [Partition, Partition];
  readonly chooser: BootChooser;
}

export interface BootRuntimeOptions {
  readonly type: string;
  readonly node: NodeInfo;
  /** As they are called before they are found. */
  readonly slotNames: readonly [string, string];
  /** Finds the slots, and what tells the firmware which one to boot. */
  readonly find: (signal: AbortSignal) => Promise<BootHost>;
  readonly records: BootRecords;
  /** In the file system of a slot. */
  readonly versionFile: string;
  readonly units: Units;
  readonly healthCheckServices: readonly string[];
  /** Another one after each boot of the node. */
  readonly bootId: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class BootRuntime extends FirmwareRuntime {
  readonly #options: BootRuntimeOptions;
  #found: BootHost | undefined;
  #installed: Installed | undefined;
  #pending: Pending | undefined;
  #current: SlotIndex | undefined;
  /** Of what the factory wrote beside the installed one. */
  #otherVersion = '';
  /** Why the slots cannot be used (spec/sm.md T-73). */
  #broken: AosError | undefined;
  /** The health check, or the copy of a slot, that goes on. */
  #background: Promise<void> = Promise.resolve();
  #abort = new AbortController();

  constructor(options: BootRuntimeOptions) {
    super(options.type, options.node);
    this.#options = options;
  }

  /** Takes up what a power cut or a reboot left; what takes its time goes on beside. */
  async adopt(
    known: readonly InstanceInfo[],
    _items: ReadonlyMap<string, InstalledItem>,
    signal: AbortSignal,
  ): Promise<readonly FirmwareChange[]> {
    for (const info of known) this.want(info);
    await this.#open(signal);
    if (!this.#broken) this.#goOn();
    return known.flatMap((info) => statusOf(info, this.#view));
  }

  /** Resolves when the new slot is written and the node is about to boot it. Throws why it is refused. */
  async start(request: FirmwareStart, signal: AbortSignal): Promise<void> {
    const { info } = request;
    const component = componentOf(info);
    this.want(info);
    if (this.#broken) await this.#open(signal);
    if (this.#broken) throw this.#broken;
    const installed = this.#installed!;
    if (isSame(component, installed.component)) {
      this.emit({ ident: info.ident, state: 'active', because: 'it is installed' });
      return;
    }
    this.#refuse(component);
    if (this.#isUnderWay(component)) return;
    refuseDowngrade(installed.component, component);
    await this.#pause();
    try {
      await this.#install(request, component, signal);
    } finally {
      this.#goOn();
    }
  }

  standing(): readonly StandingInstance[] {
    const ident = defaultIdent(this.type, this.node);
    const isWanted = (component: Component) => this.isWanted(component);
    return standingOf(this.#view, { ident, runtimeId: this.runtimeId, isWanted });
  }

  report(): FirmwareReport {
    const slots = this.#found?.slots;
    const devices = slots ? ([slots[0].name, slots[1].name] as const) : this.#options.slotNames;
    return bootReport(this.type, devices, this.#view);
  }

  /** Resolves when nothing goes on beside any more. */
  async settled(): Promise<void> {
    await this.#background;
  }

  async close(): Promise<void> {
    await this.#pause();
  }

  /** The records, the firmware's words, and on a new node what its slots hold. */
  async #open(signal: AbortSignal): Promise<void> {
    const { find, records, logger } = this.#options;
    this.#broken = undefined;
    try {
      this.#found = await find(signal);
      const { chooser } = this.#found;
      await chooser.prepare(signal);
      const { current } = await chooser.state(signal);
      this.#current = current;
      this.#pending = await records.pending.read();
      const installed = await records.installed.read();
      if (current === undefined) logger.warn({ runtime: this.type }, 'the firmware booted none of the slots');
      const slot = current ?? 0;
      if (installed) this.#installed = installed;
      else await this.#setInstalled({ component: await this.#look(slot, signal), slot, isMirrored: true });
      // What a factory wrote beside may be another version.
      const isOfFactory = this.#installed?.component.manifestDigest === '' && !this.#pending;
      this.#otherVersion = isOfFactory ? await this.#otherVersionIn(otherSlot(slot), signal) : '';
    } catch (error) {
      throwIfCanceled(signal);
      this.#broken = asAosError(error, `runtime ${this.type}`);
      logger.error({ runtime: this.type, error: this.#broken.message }, 'the boot slots cannot be used');
    }
  }

  get #view(): BootView {
    return {
      installed: this.#installed,
      pending: this.#pending,
      current: this.#current,
      otherVersion: this.#otherVersion,
      broken: this.#broken,
    };
  }

  /** Once it was found. */
  get #host(): BootHost {
    return this.#found!;
  }

  async #look(slot: SlotIndex, signal: AbortSignal): Promise<Component> {
    const version = await this.#versionIn(slot, signal);
    return { ident: defaultIdent(this.type, this.node), version, manifestDigest: '' };
  }

  async #versionIn(slot: SlotIndex, signal: AbortSignal): Promise<string> {
    const { versionFile } = this.#options;
    const { slots } = this.#host;
    return parseVersionFile(await slots[slot].readText(versionFile, signal), `${versionFile} in ${slots[slot].name}`);
  }

  /** Empty: there is nothing that has one. */
  async #otherVersionIn(slot: SlotIndex, signal: AbortSignal): Promise<string> {
    try {
      return await this.#versionIn(slot, signal);
    } catch (error) {
      throwIfCanceled(signal);
      this.#options.logger.info({ slot, because: asAosError(error).message }, 'the other slot has no version');
      return '';
    }
  }

  /** Throws for a version that another update, or its own failure, keeps out. */
  #refuse(component: Component): void {
    const pending = this.#pending;
    if (!pending) return;
    if (isSame(pending.component, component)) {
      if (pending.phase === 'returning') throw restoreError(pending.error!);
      if (pending.phase !== 'failed' || !pending.isTried) return;
      const { code, message, exitCode } = pending.error ?? { code: 'failed', message: 'it failed', exitCode: 0 };
      throw new AosError(code, message, { exitCode });
    }
    if (pending.phase !== 'trying' && pending.phase !== 'returning') return;
    throw new AosError('wrongState', `another update is already in progress: ${pending.component.version}`);
  }

  #isUnderWay(component: Component): boolean {
    const pending = this.#pending;
    return pending?.phase === 'trying' && isSame(pending.component, component);
  }

  async #install(request: FirmwareStart, component: Component, signal: AbortSignal): Promise<void> {
    const { logger } = this.#options;
    const { chooser, slots } = this.#host;
    const image = imageOf(request);
    checkBootImageType(image);
    const installed = this.#installed!;
    const slot = inactiveSlot(this.#current);
    if (slot === undefined || this.#current === undefined) {
      throw new AosError('wrongState', 'no inactive slot: the firmware booted none of the two; boot one of them first');
    }
    const because = await slots[slot].whyBusy();
    if (because !== undefined) throw new AosError('wrongState', `no inactive slot: ${because}`);
    const facts = await examineImage(image, await slots[slot].sizeBytes(signal), signal);
    // Whatever happens from here on: the next boot is of the slot that runs. It also shows that the firmware can be told.
    await chooser.setMain(this.#current, signal);
    await chooser.setNext(this.#current, signal);

    if (installed.isMirrored) await this.#setInstalled({ ...installed, isMirrored: false });
    const update = { component, slot, image: facts, attempts: 0, bootId: '' };
    await this.#setPending({ ...update, phase: 'writing', isTried: false });
    try {
      logger.info({ version: component.version, slot: slots[slot].name, bytes: facts.size }, 'a boot slot is written');
      await writeImage(image, facts, slots[slot], signal);
    } catch (error) {
      throwIfCanceled(signal);
      const failure = asAosError(error);
      await this.#setPending({ ...update, phase: 'failed', isTried: false, error: storeError(failure) });
      throw failure;
    }
    await this.#setPending({ ...update, phase: 'trying', isTried: false });
    this.emit({ ident: component.ident, state: 'activating', because: 'it is written; the node boots it next' });
  }

  /** Does what is to be done until something is to be waited for. */
  #goOn(): void {
    const { signal } = this.#abort;
    this.#background = this.#background
      .then(() => this.#advance(signal))
      .catch((error) => {
        const failure = asAosError(error);
        if (failure.code === 'canceled') return;
        this.#options.logger.error({ runtime: this.type, error: failure.message }, 'work on the boot slots failed');
      });
  }

  async #pause(): Promise<void> {
    this.#abort.abort(new AosError('canceled', 'something else is to be done with the slots'));
    await this.#background;
    this.#abort = new AbortController();
  }

  async #advance(signal: AbortSignal): Promise<void> {
    for (;;) {
      throwIfCanceled(signal);
      const step = nextBootStep({
        installed: this.#installed!,
        pending: this.#pending,
        current: this.#current,
        bootId: this.#options.bootId,
      });
      this.#options.logger.debug({ runtime: this.type, step }, 'boot slots');
      if (!(await this.#take(step, signal))) return;
    }
  }

  /** True when there may be more to do. */
  async #take(step: BootStep, signal: AbortSignal): Promise<boolean> {
    const { records, logger } = this.#options;
    const { chooser } = this.#host;
    const installed = this.#installed!;
    switch (step.do) {
      case 'rest':
        logger.info({ runtime: this.type, because: step.because }, 'nothing is done with the boot slots');
        return false;
      case 'settle':
        await chooser.setMain(installed.slot, signal);
        await this.#mirror(installed, signal);
        return false;
      case 'follow':
        await this.#setInstalled({ ...installed, slot: step.slot });
        return true;
      case 'look':
        await this.#setInstalled({ component: await this.#look(step.slot, signal), slot: step.slot, isMirrored: true });
        this.#tellInstalled('another slot was booted');
        return true;
      case 'forget':
        await records.pending.remove();
        this.#pending = undefined;
        return true;
      case 'check health':
        await this.#check(signal);
        return true;
      case 'try':
        return this.#try(step.attempt, signal);
      case 'return':
        await this.#return(step.attempt, signal);
        return false;
      case 'fail':
        await this.#fail(this.#pending!.error ?? { code: 'failed', exitCode: 0, message: step.because }, true);
        return true;
    }
  }

  async #check(signal: AbortSignal): Promise<void> {
    const { units, healthCheckServices: services, clock, records, logger } = this.#options;
    const { chooser, slots } = this.#host;
    const pending = this.#pending!;
    try {
      await checkHealth({ units, services, clock }, signal);
      await chooser.setMain(pending.slot, signal);
    } catch (error) {
      throwIfCanceled(signal);
      const failure = storeError(asAosError(error));
      await this.#setPending({
        ...pending,
        phase: 'returning',
        attempts: 0,
        bootId: '',
        error: failure,
        isTried: true,
      });
      this.#tellPending();
      return;
    }
    const { component, slot, image } = pending;
    await this.#setInstalled({ component, slot, image, isMirrored: false });
    await records.pending.remove();
    this.#pending = undefined;
    logger.info({ version: component.version, slot: slots[slot].name }, 'new firmware is installed');
    this.#tellInstalled('it runs, and its services are active');
  }

  async #try(attempt: number, signal: AbortSignal): Promise<boolean> {
    const pending = { ...this.#pending!, attempts: attempt, bootId: this.#options.bootId, isTried: true };
    await this.#setPending(pending);
    try {
      await this.#host.chooser.setNext(pending.slot, signal);
    } catch (error) {
      throwIfCanceled(signal);
      await this.#fail(storeError(asAosError(error)), false);
      return true;
    }
    const { version } = pending.component;
    this.requestReboot(`slot ${pending.slot} holds version ${version}, attempt ${attempt}`);
    return false;
  }

  async #return(attempt: number, signal: AbortSignal): Promise<void> {
    const { logger } = this.#options;
    const { chooser, slots } = this.#host;
    const { slot, image, component } = this.#installed!;
    const error = this.#pending!.error ?? { code: 'failed', exitCode: 0, message: 'a slot that was not finished runs' };
    await this.#setPending({
      ...this.#pending!,
      ...{ phase: 'returning', attempts: attempt, bootId: this.#options.bootId, error, isTried: true },
    });
    this.#tellPending();
    if (image) await verifySlot(slots[slot], image, signal);
    else await this.#versionIn(slot, signal);
    try {
      await chooser.setNext(slot, signal);
    } catch (failure) {
      throwIfCanceled(signal);
      // Nothing made the new slot the main one, so that any boot leads back.
      logger.error({ error: asAosError(failure).message }, 'the next boot could not be chosen');
    }
    this.requestReboot(`it returns to version ${component.version} in slot ${slot}: ${error.message}`);
  }

  async #fail(error: Pending['error'] & object, isTried: boolean): Promise<void> {
    await this.#setPending({ ...this.#pending!, phase: 'failed', error, isTried });
    this.#options.logger.error(
      { version: this.#pending!.component.version, because: error.message },
      'new firmware failed',
    );
    this.#tellPending();
  }

  /** The slot that does not run becomes a copy of the one that does. */
  async #mirror(installed: Installed, signal: AbortSignal): Promise<void> {
    if (installed.isMirrored) return;
    const { slots } = this.#host;
    const [from, to] = [slots[installed.slot], slots[otherSlot(installed.slot)]];
    const bytes = installed.image?.size ?? Math.min(await from.sizeBytes(signal), await to.sizeBytes(signal));
    await copySlot(from, to, bytes, signal);
    await this.#setInstalled({ ...installed, isMirrored: true });
    this.#options.logger.info({ from: from.name, to: to.name, bytes }, 'both boot slots hold the same');
  }

  async #setInstalled(installed: Installed): Promise<void> {
    await this.#options.records.installed.write(installed);
    if (installed.image) this.#otherVersion = '';
    this.#installed = installed;
  }

  async #setPending(pending: Pending): Promise<void> {
    await this.#options.records.pending.write(pending);
    this.#pending = pending;
  }

  #tellInstalled(because: string): void {
    const { ident } = this.#installed!.component;
    this.emit({ ident, state: 'active', because });
  }

  #tellPending(): void {
    const { component, error } = this.#pending!;
    this.emit({ ident: component.ident, state: 'failed', ...failureOf(error) });
  }
}
