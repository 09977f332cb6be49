/**
 * The runtime `rootfs`: a root file system that the initial RAM disk replaces (spec/sm.md 6.1 to 6.4).
 *
 * We write image and marks, and judge the trial; the initial RAM disk owns the partitions. What is to be done is found
 * by `nextRootfsStep`; each step is on record before it is done, and can be done again after a power cut.
 */
import { AosError, asAosError, type Clock, type Logger, throwIfCanceled, toErrorInfo } from '../../core/index.ts';
import type { Units } from '../../platform/systemd/index.ts';
import type { InstalledItem, InstanceInfo, NodeInfo } from '../model.ts';
import {
  type Component,
  type ComponentImage,
  componentOf,
  defaultIdent,
  failureOf,
  imageOf,
  isSame,
  refuseDowngrade,
  restoreError,
  type StoredError,
  standingInfo,
  storeError,
} from './firmware-model.ts';
import type { FirmwareChange, FirmwareReport, FirmwareStart, StandingInstance } from './firmware-parts.ts';
import { FirmwareRuntime } from './firmware-runtime.ts';
import { checkHealth } from './health.ts';
import type { Rejected, RootfsFiles } from './rootfs-files.ts';
import {
  type ImageKind,
  nextRootfsStep,
  type RootfsMark,
  type RootfsPending,
  type RootfsStep,
} from './rootfs-state.ts';

export interface RootfsRuntimeOptions {
  readonly type: string;
  readonly node: NodeInfo;
  readonly files: RootfsFiles;
  readonly units: Units;
  readonly healthCheckServices: readonly string[];
  /** Another one after each boot of the node. */
  readonly bootId: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class RootfsRuntime extends FirmwareRuntime {
  readonly #options: RootfsRuntimeOptions;
  #installed: Component | undefined;
  #pending: RootfsPending | undefined;
  #rejected: Rejected | undefined;
  /** The new root file system runs, and was not kept yet. */
  #isOnTrial = false;
  #broken: AosError | undefined;
  #background: Promise<void> = Promise.resolve();
  readonly #abort = new AbortController();

  constructor(options: RootfsRuntimeOptions) {
    super(options.type, options.node);
    this.#options = options;
  }

  /** Takes up what a power cut or a reboot left; the health check goes on beside. */
  async adopt(
    known: readonly InstanceInfo[],
    _items: ReadonlyMap<string, InstalledItem>,
    signal: AbortSignal,
  ): Promise<readonly FirmwareChange[]> {
    for (const info of known) this.want(info);
    await this.#open(signal);
    if (this.#broken) {
      const { message } = this.#broken;
      const error = toErrorInfo(this.#broken);
      return known.map(({ ident }) => ({ ident, state: 'failed', error, because: message }));
    }
    await this.#goOn(signal);
    return known.flatMap((info) => this.#statusOf(info));
  }

  /** Resolves when the initial RAM disk is asked to apply the image. Throws why it is refused. */
  async start(request: FirmwareStart, signal: AbortSignal): Promise<void> {
    const { ident } = request.info;
    const component = componentOf(request.info);
    this.want(request.info);
    if (this.#broken) {
      await this.#open(signal);
      if (this.#broken) throw this.#broken;
      this.tellStanding();
      await this.#goOn(signal);
    }
    const installed = this.#installed!;
    if (isSame(component, installed)) {
      this.emit({ ident, state: 'active', because: 'it is installed' });
      return;
    }
    if (this.#isUnderWay(component)) return;
    if (this.#rejected && isSame(component, this.#rejected.component)) throw restoreError(this.#rejected.error);
    refuseDowngrade(installed, component);
    const image = imageOf(request);
    await this.#install(component, image, kindOf(image), signal);
  }

  standing(): readonly StandingInstance[] {
    const installed = this.#installed;
    const ident = defaultIdent(this.type, this.node);
    const version = installed?.version ?? '';
    const info = standingInfo({ ident, version, manifestDigest: installed?.manifestDigest ?? '' }, this.runtimeId);
    if (this.#broken) {
      return [{ info, state: 'failed', error: toErrorInfo(this.#broken), because: this.#broken.message }];
    }
    // On trial the old one is not told (spec/sm.md 6.3).
    if (!installed || this.#isOnTrial || this.isWanted(installed)) return [];
    return [{ info, state: 'active', because: 'it is installed' }];
  }

  report(): FirmwareReport {
    const pending = this.#pending;
    const failed = this.#rejected;
    return {
      type: this.type,
      ...(this.#installed && { installed: this.#installed.version }),
      slots: [],
      ...(pending && {
        update: {
          version: pending.component.version,
          phase: pending.phase,
          attempts: pending.attempts,
          ...(pending.error && { error: pending.error.message }),
        },
      }),
      ...(!pending &&
        failed && {
          update: { version: failed.component.version, phase: 'failed', attempts: 1, error: failed.error.message },
        }),
      ...(this.#broken && { error: this.#broken.message }),
    };
  }

  /** Resolves when nothing goes on beside any more. */
  async settled(): Promise<void> {
    await this.#background;
  }

  async close(): Promise<void> {
    this.#abort.abort(new AosError('canceled', 'the service manager stops'));
    await this.#background;
  }

  async #open(signal: AbortSignal): Promise<void> {
    const { files, logger } = this.#options;
    this.#broken = undefined;
    try {
      this.#pending = await files.pending.read();
      this.#rejected = await files.rejected.read();
      this.#installed = await files.installed.read();
      if (this.#installed) return;
      const version = await files.runningVersion();
      await this.#setInstalled({ ident: defaultIdent(this.type, this.node), version, manifestDigest: '' });
    } catch (error) {
      throwIfCanceled(signal);
      this.#broken = asAosError(error, `runtime ${this.type}`);
      logger.error({ runtime: this.type, error: this.#broken.message }, 'the root file system cannot be updated');
    }
  }

  /** Takes up what is on record. All but the health check is a matter of moments, and says how the components do. */
  async #goOn(signal: AbortSignal): Promise<void> {
    const waits = await this.#attempt(() => this.#advance(signal, false));
    if (waits) this.#background = this.#attempt(() => this.#advance(this.#abort.signal, true)).then(() => undefined);
  }

  #isUnderWay(component: Component): boolean {
    const pending = this.#pending;
    if (!pending || pending.phase === 'preparing') return false;
    if (!isSame(pending.component, component)) {
      throw new AosError('wrongState', `another update is already in progress: ${pending.component.version}`);
    }
    if (pending.phase === 'returning') throw restoreError(pending.error!);
    return true;
  }

  async #install(component: Component, image: ComponentImage, kind: ImageKind, signal: AbortSignal): Promise<void> {
    const { files, bootId, logger } = this.#options;
    const update = { component, kind };
    this.emit({ ident: component.ident, state: 'activating', because: 'its image is copied' });
    logger.info({ version: component.version, kind }, 'a root file system is prepared');
    try {
      await this.#clean();
      await files.putImage(image, signal);
      // The mark comes last: it alone makes the initial RAM disk act.
      await this.#setPending({ ...update, phase: 'preparing', attempts: 0, bootId: '' });
      await files.putMark('do_update', kind);
      await this.#setPending({ ...update, phase: 'requested', attempts: 1, bootId });
    } catch (error) {
      throwIfCanceled(signal);
      await this.#clean();
      await files.pending.remove();
      this.#pending = undefined;
      throw error;
    }
    this.requestReboot(`root file system ${component.version} is to be tried`);
  }

  /** True when the health check is to be waited for, and that is not to be done now. */
  async #advance(signal: AbortSignal, mayCheck: boolean): Promise<boolean> {
    for (;;) {
      throwIfCanceled(signal);
      const marks = await this.#options.files.marks();
      this.#isOnTrial = marks.has('updated') && this.#pending !== undefined;
      const { bootId, logger } = this.#options;
      const runningVersion = await this.#options.files.runningVersion().catch((error) => {
        logger.warn({ error: asAosError(error).message }, 'the running version is not known');
        return undefined;
      });
      const facts = { installed: this.#installed!, pending: this.#pending, marks, runningVersion, bootId };
      const step = nextRootfsStep(facts);
      logger.debug({ runtime: this.type, step }, 'root file system');
      if (step.do === 'check health' && !mayCheck) return true;
      if (!(await this.#take(step, marks, signal))) return false;
    }
  }

  /** True when there may be more to do. */
  async #take(step: RootfsStep, marks: ReadonlySet<RootfsMark>, signal: AbortSignal): Promise<boolean> {
    const { files, logger } = this.#options;
    switch (step.do) {
      case 'rest':
        logger.warn({ runtime: this.type, because: step.because }, 'nothing is done with the root file system');
        return false;
      case 'clean':
        await this.#clean();
        if (this.#pending) await files.pending.remove();
        this.#pending = undefined;
        return false;
      case 'prepare anew':
        return false;
      case 'request':
        await this.#again(step.attempt, 'requested');
        if (!marks.has('do_update')) await files.putMark('do_update', this.#pending!.kind);
        this.requestReboot(`root file system ${this.#pending!.component.version} is to be tried`);
        return false;
      case 'check health':
        await this.#check(signal);
        return true;
      case 'apply':
        await this.#again(step.attempt, 'applying');
        if (!marks.has('do_apply')) await files.putMark('do_apply', '');
        this.requestReboot(`root file system ${this.#pending!.component.version} is to be kept`);
        return false;
      case 'return':
        await this.#again(step.attempt, 'returning');
        if (!marks.has('failed')) await files.putMark('failed', '');
        this.requestReboot(
          `root file system ${this.#installed!.version} is to return: ${this.#pending!.error?.message}`,
        );
        return false;
      case 'promote':
        await this.#promote();
        return true;
      case 'fail':
        await this.#fail(this.#pending!.error ?? { code: 'failed', exitCode: 0, message: step.because });
        return true;
    }
  }

  async #check(signal: AbortSignal): Promise<void> {
    const { units, healthCheckServices: services, clock, logger } = this.#options;
    const pending = this.#pending!;
    const next = { ...pending, attempts: 0, bootId: '' };
    try {
      await checkHealth({ units, services, clock }, signal);
    } catch (error) {
      throwIfCanceled(signal);
      const failure = storeError(asAosError(error));
      await this.#setPending({ ...next, phase: 'returning', error: failure });
      logger.error({ version: pending.component.version, because: failure.message }, 'a root file system is no good');
      this.emit({ ident: pending.component.ident, state: 'failed', ...failureOf(failure) });
      return;
    }
    await this.#setPending({ ...next, phase: 'applying' });
    this.emit({ ident: pending.component.ident, state: 'activating', because: 'its trial was good; it is kept' });
  }

  async #again(attempts: number, phase: RootfsPending['phase']): Promise<void> {
    await this.#setPending({ ...this.#pending!, phase, attempts, bootId: this.#options.bootId });
  }

  async #promote(): Promise<void> {
    const { component } = this.#pending!;
    const before = this.#installed!;
    await this.#setInstalled(component);
    this.#options.logger.info({ version: component.version }, 'a new root file system is installed');
    this.emit({ ident: before.ident, state: 'inactive', because: `version ${component.version} took its place` });
    this.emit({ ident: component.ident, state: 'active', because: 'its trial was good' });
  }

  async #fail(error: StoredError): Promise<void> {
    const { files, logger } = this.#options;
    const { component } = this.#pending!;
    const rejected = { component, error };
    // The marks are about to go: without them only the record says that this is over.
    await this.#setPending({ ...this.#pending!, phase: 'returning', error });
    await files.rejected.write(rejected);
    this.#rejected = rejected;
    logger.error({ version: component.version, because: error.message }, 'a new root file system failed');
    await this.#clean();
    await files.pending.remove();
    this.#pending = undefined;
    this.emit({ ident: component.ident, state: 'failed', ...failureOf(error) });
  }

  /** `updated` is the initial RAM disk's (spec/sm.md T-43). */
  async #clean(): Promise<void> {
    const { files } = this.#options;
    const marks = await files.marks();
    // Without its request nobody touches the image.
    for (const mark of ['do_update', 'do_apply', 'failed'] as const) if (marks.has(mark)) await files.removeMark(mark);
    await files.removeImages();
  }

  async #setInstalled(component: Component): Promise<void> {
    await this.#options.files.installed.write(component);
    this.#installed = component;
  }

  async #setPending(pending: RootfsPending): Promise<void> {
    await this.#options.files.pending.write(pending);
    this.#pending = pending;
  }

  /** A failure is told, and does not keep the SM from running (spec/sm.md T-73). */
  async #attempt(work: () => Promise<boolean>): Promise<boolean> {
    try {
      return await work();
    } catch (error) {
      const failure = asAosError(error);
      if (failure.code !== 'canceled') {
        this.#options.logger.error(
          { runtime: this.type, error: failure.message },
          'work on the root file system failed',
        );
      }
      return false;
    }
  }

  /** Nothing is said of what is to be started anew. */
  #statusOf(info: InstanceInfo): FirmwareChange[] {
    const component = componentOf(info);
    const { ident } = info;
    if (isSame(component, this.#installed!)) return [{ ident, state: 'active', because: 'it is installed' }];
    if (this.#rejected && isSame(component, this.#rejected.component)) {
      return [{ ident, state: 'failed', ...failureOf(this.#rejected.error) }];
    }
    const pending = this.#pending;
    if (!pending || pending.phase === 'preparing' || !isSame(component, pending.component)) return [];
    if (pending.phase === 'returning') return [{ ident, state: 'failed', ...failureOf(pending.error) }];
    return [{ ident, state: 'activating', because: pending.phase === 'applying' ? 'it is kept' : 'it is tried' }];
  }
}

/** Throws `invalidArgument` for an image that is not for this runtime. */
function kindOf({ mediaType }: ComponentImage): ImageKind {
  if (mediaType.includes('vnd.aos.image.component.full') && !mediaType.endsWith('+gzip')) return 'full';
  if (mediaType.includes('vnd.aos.image.component.inc')) return 'incremental';
  const text = `the image is of type "${mediaType}", expected application/vnd.aos.image.component.full.v1+squashfs or …inc…`;
  throw new AosError('invalidArgument', text);
}
