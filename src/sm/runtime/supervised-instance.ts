/** One instance from its start to its stop: runs, probes, exits, restarts (spec/decisions.md 5). */
import {
  AosError,
  asAosError,
  type ErrorInfo,
  type InstanceState,
  instanceName,
  toErrorInfo,
} from '../../core/index.ts';
import { identifyProcess, isRunning, type ProcessIdentity } from '../../platform/proc/index.ts';
import { exitError, giveUpError, planRestart, type RunHistory, recordRestart } from '../supervision/index.ts';
import { cgroupPathOf } from './build-oci-config.ts';
import type { Bundle } from './bundle.ts';
import { ContainerRun, type RunEnd } from './container-run.ts';
import { askToEnd, waitForEnd } from './end-container.ts';
import { keepPreviousLog } from './instance-logs.ts';
import type { InstanceParts } from './instance-parts.ts';
import { AFTER_KILL_MS, InstanceRemains } from './instance-remains.ts';
import { missingInterpreter } from './missing-interpreter.ts';
import { endWhenDead, probeUntilReady } from './probe-run.ts';
import type { InstanceChange, LaunchRecord, RunningInstance } from './runtime-model.ts';

/** How long a killed process may take to be gone before the runtime is asked to see to it. */
const KILLED_MS = 3_000;

interface Exit {
  readonly status: number;
  readonly uptimeMs: number;
  readonly outOfMemory: boolean;
}

type Prepare = (signal: AbortSignal) => Promise<() => void>;

const NEVER_RAN: Exit = { status: -1, uptimeMs: 0, outOfMemory: false };

export class SupervisedInstance {
  readonly id: string;
  readonly bundle: Bundle;
  readonly #parts: InstanceParts;
  readonly #logFile: string;
  /** Aborts when the instance is stopped, or left alone by an SM that goes. */
  readonly #over = new AbortController();
  readonly #ready = Promise.withResolvers<void>();
  readonly #remains: InstanceRemains;
  #record: LaunchRecord;
  #state: InstanceState = 'inactive';
  #error: ErrorInfo | undefined;
  #because = 'it was not started yet';
  #run: ContainerRun | undefined;
  #history: RunHistory = { restartsAtMs: [] };
  /** What the live probe found, when that is why the present run ends. */
  #finding: string | undefined;
  #supervision: Promise<void> = Promise.resolve();
  /** Nothing of it runs, and nothing starts it again but a new start. */
  #isOver = false;
  #stopping: Promise<void> | undefined;

  constructor(parts: InstanceParts, bundle: Bundle, record: LaunchRecord, logFile: string) {
    this.#parts = parts;
    this.bundle = bundle;
    this.id = bundle.id;
    this.#remains = new InstanceRemains(parts, bundle);
    this.#record = record;
    this.#logFile = logFile;
    // Who does not wait for readiness must not be told of its failure.
    this.#ready.promise.catch(() => undefined);
  }

  get state(): InstanceState {
    return this.#state;
  }

  /** Something of it runs, or will be started again without a new start. */
  get isHeld(): boolean {
    return !this.#isOver;
  }

  get record(): LaunchRecord {
    return this.#record;
  }

  get report(): RunningInstance {
    const { info, process, startedAt, restarts } = this.#record;
    return {
      id: this.id,
      itemId: info.ident.itemId,
      subjectId: info.ident.subjectId,
      instance: info.ident.instance,
      version: info.version,
      pid: this.#run?.end === undefined ? process?.pid : undefined,
      state: this.#state,
      error: this.#error,
      because: this.#because,
      bundleDir: this.bundle.dir,
      logFile: this.#logFile,
      cgroupPath: cgroupPathOf(this.id),
      startedAt,
      restarts,
    };
  }

  /**
   * Resolves when it is active. Throws what went wrong, which is its state then. What `prepare` answers is done when the
   * instance's turn to be started has come.
   */
  start(prepare: Prepare, signal: AbortSignal): Promise<void> {
    this.#change('activating', 'it is being started');
    this.#supervision = this.#startAndSupervise(prepare, AbortSignal.any([signal, this.#over.signal]));
    return this.#ready.promise;
  }

  /** Takes over a container that another SM started: it runs, or its exit file tells how it ended. */
  adopt(process: ProcessIdentity | undefined): void {
    const { clock } = this.#parts;
    const run = new ContainerRun(this.bundle.exitDir, this.id, clock.monotonicMs() - this.#uptimeMs());
    this.#run = run;
    const { probe, isReady = false } = this.#record;
    const isActive = process !== undefined && (probe === undefined || isReady);
    if (process) {
      this.#record = { ...this.#record, process };
      this.#state = isActive ? 'active' : 'activating';
      this.#because = 'it went on while the service manager was away';
    } else {
      this.#because = 'it ended while the service manager was away';
      run.finish(run.end ?? { status: -1, at: clock.now() });
    }
    this.#supervision = this.#supervise(run, isActive);
  }

  /** Stops it and gives everything back; asking again waits for the same stop. */
  stop(signal: AbortSignal): Promise<void> {
    this.#stopping ??= this.#stop(signal);
    return this.#stopping;
  }

  /** Ends the supervision; the container goes on. */
  async leave(): Promise<void> {
    this.#over.abort(new AosError('canceled', 'the service manager ends'));
    this.#run?.close();
    await this.#supervision;
  }

  /** Compares what is believed with what is (spec/decisions.md 5.2): the mechanism is the exit file. */
  sweep(): void {
    const run = this.#run;
    if (!run || run.end) return;
    this.#keepLog();
    run.look();
    const { process } = this.#record;
    if (run.end || !process || isRunning(process)) return;
    this.#parts.logger.warn({ id: this.id }, 'the container has ended and nobody has its exit status');
    run.finish({ status: -1, at: this.#parts.clock.now() });
  }

  async #startAndSupervise(prepare: Prepare, signal: AbortSignal): Promise<void> {
    let run: ContainerRun;
    try {
      // Preparing is short work in memory, and a call of the mount helper that all of a moment share.
      const complete = await prepare(signal);
      this.bundle.writeRecord(this.#record);
      const launch = () => {
        complete();
        return this.#launch(signal);
      };
      run = await this.#parts.slots.use(launch, signal);
    } catch (error) {
      const aos = asAosError(error);
      if (this.#over.signal.aborted) this.#ready.reject(aos);
      else await this.#endForGood(aos, `it could not be started: ${aos.message}`);
      return;
    }
    await this.#supervise(run, false);
  }

  async #launch(signal: AbortSignal): Promise<ContainerRun> {
    const { engine, clock, launched } = this.#parts;
    this.bundle.forgetExit();
    const run = new ContainerRun(this.bundle.exitDir, this.id, clock.monotonicMs());
    try {
      const { dir, exitDir } = this.bundle;
      // Before the first line that it can write: logs of a run are told by this.
      const startedAt = clock.now().toISOString();
      const pid = await engine.run({ id: this.id, bundleDir: dir, exitDir, logFile: this.#logFile }, signal);
      // A process that has ended by now left its exit file.
      this.#record = { ...this.#record, process: identifyProcess(pid), startedAt, isReady: false };
      this.bundle.writeRecord(this.#record);
      await launched(this.id);
    } catch (error) {
      run.close();
      throw error;
    }
    this.#run = run;
    this.#keepLog();
    return run;
  }

  /** Follows run after run until it is stopped, left alone, or nothing is to be restarted any more. */
  async #supervise(first: ContainerRun, wasActive: boolean): Promise<void> {
    try {
      let run: ContainerRun | undefined = first;
      for (let isActive = wasActive; run; isActive = false) {
        if (!isActive) await this.#becomeActive(run);
        const alive = new AbortController();
        this.#watchLife(AbortSignal.any([alive.signal, this.#over.signal]));
        const end: RunEnd | undefined = await this.#untilEnd(run).finally(() => alive.abort());
        run = end && (await this.#afterEnd(end, this.#parts.clock.monotonicMs() - run.startedAtMs));
      }
    } catch (error) {
      if (!this.#over.signal.aborted) await this.#endFailed(asAosError(error));
    } finally {
      this.#ready.reject(new AosError('canceled', 'it was stopped before it was active'));
    }
  }

  /** Throws `timeout` when the probe does not succeed in time; a run that ends meanwhile is no matter of this. */
  async #becomeActive(run: ContainerRun): Promise<void> {
    const { probe } = this.#record;
    if (probe) {
      // After a failure the state stays: a twin would wait for the end of activating (spec/decisions.md 5.1).
      const because = 'its main process runs, its start probe is being tried';
      if (this.#state === 'activating') this.#change('activating', because, { milestone: 'process runs' });
      await probeUntilReady(this, run, this.#parts, this.#over.signal);
    }
    if (run.end || this.#over.signal.aborted) return;
    if (probe) {
      this.#record = { ...this.#record, isReady: true };
      this.bundle.writeRecord(this.#record);
    }
    this.#change('active', probe ? 'its start probe succeeded' : 'its main process runs');
  }

  /** A run that does not answer any more is ended, and counts as one that ended by itself. */
  #watchLife(signal: AbortSignal): void {
    this.#finding = undefined;
    endWhenDead(this, this.#parts, signal, (finding) => {
      this.#finding = finding;
    });
  }

  async #untilEnd(run: ContainerRun): Promise<RunEnd | undefined> {
    const { signal } = this.#over;
    if (signal.aborted) return undefined;
    const over = Promise.withResolvers<undefined>();
    const onOver = () => over.resolve(undefined);
    signal.addEventListener('abort', onOver, { once: true });
    const end = await Promise.race([run.ended, over.promise]);
    signal.removeEventListener('abort', onOver);
    return end;
  }

  /** An unasked exit: the next run, or undefined when there will be none. */
  async #afterEnd(end: RunEnd, uptimeMs: number): Promise<ContainerRun | undefined> {
    const { cgroups } = this.#parts;
    const { ramLimit, restart } = this.#record;
    const facts = { status: end.status, outOfMemory: cgroups.oomKills(cgroupPathOf(this.id)) > 0, ramLimit };
    if (restart === 'never' && end.status === 0) {
      this.#remember(end.status, 'exit code 0', uptimeMs, 'not restarted');
      await this.#remains.dropContainer();
      const because = 'it has done its work: exit code 0, and its item asks for no restart';
      this.#change('inactive', because, { milestone: 'completed' });
      return undefined;
    }
    const finding = this.#finding;
    const cause =
      finding === undefined
        ? exitError({ ...facts, hint: missingInterpreter(this.bundle.dir, end.status) })
        : new AosError('failed', `live probe failed: ${finding}`, { exitCode: Math.max(end.status, 0) });
    const sentence = finding === undefined ? `its main process ended by itself: ${cause.message}` : cause.message;
    return this.#restart(cause, sentence, { status: end.status, uptimeMs, outOfMemory: facts.outOfMemory });
  }

  /** Tries until a container runs again or the policy ends it; a failure to create one counts as an exit. */
  async #restart(firstCause: AosError, firstSentence: string, firstExit: Exit): Promise<ContainerRun | undefined> {
    const { clock, slots } = this.#parts;
    const { signal } = this.#over;
    let [cause, because, exit] = [firstCause, firstSentence, firstExit];
    for (;;) {
      const decision = planRestart(this.#record.run, this.#history, clock.monotonicMs(), exit.uptimeMs);
      const crash = { status: exit.status, outOfMemory: exit.outOfMemory, gaveUp: decision.do === 'giveUp' };
      if (decision.do === 'giveUp') {
        this.#remember(exit.status, cause.message, exit.uptimeMs, 'gave up');
        await this.#endForGood(giveUpError(decision.restarts, cause), `${because}; ${decision.because}`, crash);
        return undefined;
      }
      this.#remember(exit.status, cause.message, exit.uptimeMs, 'restart');
      this.#fail(cause, `${because}; ${decision.because} in ${decision.pauseMs} ms`, crash);
      await clock.sleep(decision.pauseMs, signal);
      this.#history = recordRestart(this.#history, clock.monotonicMs(), decision.pauseMs);
      this.#record = { ...this.#record, restarts: this.#record.restarts + 1 };
      try {
        await this.#remains.clearContainer(signal);
        return await slots.use(() => this.#launch(signal), signal);
      } catch (error) {
        if (signal.aborted) throw error;
        cause = asAosError(error);
        because = `it could not be started again: ${cause.message}`;
        exit = NEVER_RAN;
      }
    }
  }

  /** A probe that failed: what runs is ended. */
  async #endFailed(error: AosError): Promise<void> {
    this.#remember(-1, error.message, 0, 'not restarted');
    this.#run?.close();
    await this.#endForGood(error, error.message);
  }

  /** It failed, and nothing will start it again by itself: whoever hears of it finds nothing of it on the host. */
  async #endForGood(error: AosError, because: string, crash?: InstanceChange['crash']): Promise<void> {
    // Also what a runtime that hangs has left behind.
    this.#parts.cgroups.kill(cgroupPathOf(this.id));
    await this.#remains.dropContainer();
    await this.#remains.giveBackWhatCan();
    this.#isOver = true;
    this.#fail(error, because, crash);
  }

  async #stop(signal: AbortSignal): Promise<void> {
    this.#over.abort(new AosError('canceled', 'it is being stopped'));
    await this.#supervision;
    const { cgroups, clock, measure } = this.#parts;
    const errors: AosError[] = [];
    const attempt = async (work: () => Promise<unknown>) => {
      try {
        await work();
      } catch (error) {
        errors.push(asAosError(error));
      }
    };
    const because = await askToEnd(this.#run, this.#record, clock, signal);
    await attempt(async () => {
      cgroups.kill(cgroupPathOf(this.id));
      const bound = AbortSignal.timeout(AFTER_KILL_MS);
      await measure('end of the process', () => waitForEnd(this.#run, KILLED_MS, clock, bound));
    });
    this.#run?.close();
    let complaint: AosError | undefined;
    await attempt(async () => {
      complaint = await this.#remains.removeInTurn();
    });
    await attempt(() => this.#remains.giveBack());
    this.#isOver = errors.length === 0;
    const error = errors[0] ?? complaint;
    if (error) {
      // What stays is tried again when somebody asks again.
      this.#stopping = undefined;
      this.#fail(error, `it could not be stopped${this.#isOver ? ' by its runtime' : ''}: ${error.message}`);
      throw error;
    }
    this.#change('inactive', because);
  }

  /** A log that cannot be kept is no reason to end anything. */
  #keepLog(): void {
    try {
      keepPreviousLog(this.#logFile);
    } catch (error) {
      this.#parts.logger.warn({ id: this.id, error: asAosError(error).message }, 'the older part of a log is lost');
    }
  }

  #uptimeMs(): number {
    const { startedAt } = this.#record;
    // The wall clock may have been set meanwhile.
    return startedAt === undefined ? 0 : Math.max(0, this.#parts.clock.now().getTime() - Date.parse(startedAt));
  }

  #remember(status: number, cause: string, uptimeMs: number, outcome: 'restart' | 'gave up' | 'not restarted'): void {
    this.#parts.store.record(this.id, { at: this.#parts.clock.now(), uptimeMs, status, cause, outcome });
  }

  #fail(error: AosError, because: string, crash?: InstanceChange['crash']): void {
    this.#change('failed', because, { error: toErrorInfo(error), crash });
    this.#ready.reject(error);
  }

  #change(
    state: InstanceState,
    because: string,
    more: Pick<InstanceChange, 'error' | 'crash' | 'milestone'> = {},
  ): void {
    this.#state = state;
    this.#error = more.error;
    this.#because = because;
    const { ident } = this.#record.info;
    this.#parts.logger.info({ instance: instanceName(ident), id: this.id, state, error: more.error }, because);
    this.#parts.emit({ ident, state, because, ...more });
    if (state === 'active') this.#ready.resolve();
  }
}
