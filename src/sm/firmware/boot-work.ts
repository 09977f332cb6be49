/**
 * What is done to the two boot slots (spec/sm.md 6.7, 6.8). The slot that runs is never written; each step is on record
 * before it is done, and can be done again after a power cut.
 */
import { AosError, asAosError, type Clock, type Logger, throwIfCanceled } from '../../core/index.ts';
import { otherSlot } from '../../platform/boot/index.ts';
import type { Units } from '../../platform/systemd/index.ts';
import type { BootSlots } from './boot-slots.ts';
import { type BootStep, type Installed, inactiveSlot, nextBootStep } from './boot-state.ts';
import { type Component, failureOf, imageOf, type StoredError, storeError } from './firmware-model.ts';
import type { FirmwareChange, FirmwareStart } from './firmware-parts.ts';
import { checkHealth } from './health.ts';
import { checkBootImageType, copySlot, examineImage, verifySlot, writeImage } from './image.ts';

export interface BootWorkOptions {
  readonly type: string;
  readonly units: Units;
  readonly healthCheckServices: readonly string[];
  /** Another one after each boot of the node. */
  readonly bootId: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Who is told of what came about. */
export interface BootListener {
  emit(change: FirmwareChange): void;
  requestReboot(because: string): void;
}

export class BootWork {
  readonly #options: BootWorkOptions;
  readonly #slots: BootSlots;
  readonly #listener: BootListener;

  constructor(options: BootWorkOptions, slots: BootSlots, listener: BootListener) {
    this.#options = options;
    this.#slots = slots;
    this.#listener = listener;
  }

  /** Resolves when the inactive slot holds the image and is to be tried. Throws why it is refused. */
  async install(request: FirmwareStart, component: Component, signal: AbortSignal): Promise<void> {
    const { logger } = this.#options;
    const { chooser, slots } = this.#slots.host;
    const { installed, current } = this.#slots;
    const image = imageOf(request);
    checkBootImageType(image);
    const slot = inactiveSlot(current);
    if (slot === undefined || current === undefined) {
      throw new AosError('wrongState', 'no inactive slot: the firmware booted none of the two; boot one of them first');
    }
    const because = await slots[slot].whyBusy();
    if (because !== undefined) throw new AosError('wrongState', `no inactive slot: ${because}`);
    const facts = await examineImage(image, await slots[slot].sizeBytes(signal), signal);
    // Whatever happens from here on: the next boot is of the slot that runs. It also shows that the firmware can be told.
    await chooser.setMain(current, signal);
    await chooser.setNext(current, signal);

    if (installed.isMirrored) await this.#slots.setInstalled({ ...installed, isMirrored: false });
    const update = { component, slot, image: facts, attempts: 0, bootId: '' };
    await this.#slots.setPending({ ...update, phase: 'writing', isTried: false });
    try {
      logger.info({ version: component.version, slot: slots[slot].name, bytes: facts.size }, 'a boot slot is written');
      await writeImage(image, facts, slots[slot], signal);
    } catch (error) {
      throwIfCanceled(signal);
      const failure = asAosError(error);
      await this.#slots.setPending({ ...update, phase: 'failed', isTried: false, error: storeError(failure) });
      throw failure;
    }
    await this.#slots.setPending({ ...update, phase: 'trying', isTried: false });
    this.#listener.emit({
      ident: component.ident,
      state: 'activating',
      because: 'it is written; the node boots it next',
    });
  }

  /** Does what is to be done until something is to be waited for. Throws what a step fails with, `canceled`. */
  async advance(signal: AbortSignal): Promise<void> {
    const { type, bootId, logger } = this.#options;
    for (;;) {
      throwIfCanceled(signal);
      const { installed, pending, current } = this.#slots;
      const step = nextBootStep({ installed, pending, current, bootId });
      logger.debug({ runtime: type, step }, 'boot slots');
      if (!(await this.#take(step, signal))) return;
    }
  }

  /** True when there may be more to do. */
  async #take(step: BootStep, signal: AbortSignal): Promise<boolean> {
    const { type, logger } = this.#options;
    const { installed } = this.#slots;
    switch (step.do) {
      case 'rest':
        logger.info({ runtime: type, because: step.because }, 'nothing is done with the boot slots');
        return false;
      case 'settle':
        await this.#slots.host.chooser.setMain(installed.slot, signal);
        await this.#mirror(installed, signal);
        return false;
      case 'follow':
        await this.#slots.setInstalled({ ...installed, slot: step.slot });
        return true;
      case 'look': {
        const component = await this.#slots.look(step.slot, signal);
        await this.#slots.setInstalled({ component, slot: step.slot, isMirrored: true });
        this.#tellInstalled('another slot was booted');
        return true;
      }
      case 'forget':
        await this.#slots.dropPending();
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
        await this.#fail(this.#slots.pending!.error ?? { code: 'failed', exitCode: 0, message: step.because }, true);
        return true;
    }
  }

  async #check(signal: AbortSignal): Promise<void> {
    const { units, healthCheckServices: services, clock, logger } = this.#options;
    const { chooser, slots } = this.#slots.host;
    const pending = this.#slots.pending!;
    try {
      await checkHealth({ units, services, clock }, signal);
      await chooser.setMain(pending.slot, signal);
    } catch (error) {
      throwIfCanceled(signal);
      const verdict = { phase: 'returning', error: storeError(asAosError(error)), isTried: true } as const;
      await this.#slots.setPending({ ...pending, ...verdict, attempts: 0, bootId: '' });
      this.#tellPending();
      return;
    }
    const { component, slot, image } = pending;
    await this.#slots.setInstalled({ component, slot, image, isMirrored: false });
    await this.#slots.dropPending();
    logger.info({ version: component.version, slot: slots[slot].name }, 'new firmware is installed');
    this.#tellInstalled('it runs, and its services are active');
  }

  async #try(attempt: number, signal: AbortSignal): Promise<boolean> {
    const pending = { ...this.#slots.pending!, attempts: attempt, bootId: this.#options.bootId, isTried: true };
    await this.#slots.setPending(pending);
    try {
      await this.#slots.host.chooser.setNext(pending.slot, signal);
    } catch (error) {
      throwIfCanceled(signal);
      await this.#fail(storeError(asAosError(error)), false);
      return true;
    }
    const { version } = pending.component;
    this.#listener.requestReboot(`slot ${pending.slot} holds version ${version}, attempt ${attempt}`);
    return false;
  }

  async #return(attempt: number, signal: AbortSignal): Promise<void> {
    const { logger, bootId } = this.#options;
    const { chooser, slots } = this.#slots.host;
    const { slot, image, component } = this.#slots.installed;
    const pending = this.#slots.pending!;
    const error = pending.error ?? { code: 'failed', exitCode: 0, message: 'a slot that was not finished runs' };
    await this.#slots.setPending({ ...pending, phase: 'returning', attempts: attempt, bootId, error, isTried: true });
    this.#tellPending();
    if (image) await verifySlot(slots[slot], image, signal);
    else await this.#slots.look(slot, signal);
    try {
      await chooser.setNext(slot, signal);
    } catch (failure) {
      throwIfCanceled(signal);
      // Nothing made the new slot the main one, so that any boot leads back.
      logger.error({ error: asAosError(failure).message }, 'the next boot could not be chosen');
    }
    this.#listener.requestReboot(`it returns to version ${component.version} in slot ${slot}: ${error.message}`);
  }

  async #fail(error: StoredError, isTried: boolean): Promise<void> {
    const pending = this.#slots.pending!;
    await this.#slots.setPending({ ...pending, phase: 'failed', error, isTried });
    this.#options.logger.error({ version: pending.component.version, because: error.message }, 'new firmware failed');
    this.#tellPending();
  }

  /** The slot that does not run becomes a copy of the one that does. */
  async #mirror(installed: Installed, signal: AbortSignal): Promise<void> {
    if (installed.isMirrored) return;
    const { slots } = this.#slots.host;
    const [from, to] = [slots[installed.slot], slots[otherSlot(installed.slot)]];
    const bytes = installed.image?.size ?? Math.min(await from.sizeBytes(signal), await to.sizeBytes(signal));
    await copySlot(from, to, bytes, signal);
    await this.#slots.setInstalled({ ...installed, isMirrored: true });
    this.#options.logger.info({ from: from.name, to: to.name, bytes }, 'both boot slots hold the same');
  }

  #tellInstalled(because: string): void {
    this.#listener.emit({ ident: this.#slots.installed.component.ident, state: 'active', because });
  }

  #tellPending(): void {
    const { component, error } = this.#slots.pending!;
    this.#listener.emit({ ident: component.ident, state: 'failed', ...failureOf(error) });
  }
}
