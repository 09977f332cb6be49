/**
 * Containers by conmon and crun or runc (spec/decisions.md 5.2).
 *
 * conmon asks its runtime to `create`. What crun has created is told to begin by us, as `crun start` does it; runc is
 * given to conmon as a command that turns `create` into `run --detach`. Either saves a second start of the runtime per
 * container. conmon leaves itself in the background before that, so it outlives us.
 */
import { existsSync, readFileSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AosError, asAosError, faultPoint, type Logger, throwIfCanceled } from '../../core/index.ts';
import type { Cgroups } from '../cgroup/index.ts';
import { commandLineOf, endDescendants, identifyProcess } from '../proc/index.ts';
import { type ExecResult, HelperShell, mustExec, quote, runtimeComplaint, withoutMount } from '../program/index.ts';
import { beginCreated, isCreatedOnly } from './begin-created.ts';
import { chooseRuntime, needProgram, type RuntimeChoice, type RuntimeWish } from './choose-runtime.ts';
import type { ContainerEngine, RunRequest } from './container-engine.ts';
import { settleFormerHelpers } from './former-helpers.ts';
import { SealedProgram } from './sealed-program.ts';
import { shareDirectory, unshareDirectory } from './shared-mount.ts';
import { TalkingShell } from './talking-shell.ts';

/** Default bound of one command of the runtime (spec/decisions.md 8.2). */
const COMMAND_TIMEOUT_MS = 30_000;
/** One of the two files of a log ring. */
const LOG_FILE_BYTES = 10 * 1024 * 1024;
const JOURNAL_SOCKET = '/run/systemd/journal/socket';

export interface OciEngineOptions {
  readonly wish: RuntimeWish;
  /** Where the runtime keeps what it knows of its containers. */
  readonly stateRoot: string;
  readonly cgroups: Cgroups;
  /** Cgroup for conmon, so that it survives when ours is ended. */
  readonly helperCgroup: string;
  /**
   * Below it roots are mounted. Where the runtime runs in a mount namespace of its own, mounts here must reach it, so the
   * directory is made a mount point that shares them. Absent: roots are plain directories.
   */
  readonly bundleRoot?: string | undefined;
  /** Default: to the journal when there is one, else to a file. */
  readonly log?: 'journal' | 'file' | undefined;
  /** When a log file is full. Default 10 MiB. */
  readonly logFileBytes?: number | undefined;
  /** A command of the runtime that takes longer has failed. Default 30 s. */
  readonly commandTimeoutMs?: number | undefined;
  readonly logger: Logger;
}

/** Finds the programs of the host. Throws `notSupported` naming what is missing. */
export async function createOciEngine(options: OciEngineOptions): Promise<OciEngine> {
  const choice = await chooseRuntime(options.wish, options.cgroups.layout);
  const conmon = await needProgram('conmon');
  const shell = await needProgram('sh');
  const unshare = choice.hiddenMount === undefined ? undefined : await needProgram('unshare');
  options.logger.info(
    { runtime: choice.executable, because: choice.because, hiddenMount: choice.hiddenMount },
    'container runtime chosen',
  );
  if (unshare !== undefined && options.bundleRoot !== undefined) await shareDirectory(options.bundleRoot);
  // What a former service manager had begun to start must be seen by whoever adopts or removes.
  const candidates = () => options.cgroups.processes(options.helperCgroup);
  const former = await settleFormerHelpers(options.stateRoot, candidates);
  if (former !== 'gone') {
    const outcome = former === 'hung' ? 'were ended' : 'cannot be ended';
    options.logger.warn({ runtime: choice.name }, `helpers of a former service manager hung, and ${outcome}`);
  }
  return new OciEngine(options, { choice, conmon, shell, unshare });
}

interface Programs {
  readonly choice: RuntimeChoice;
  readonly conmon: string;
  readonly shell: string;
  readonly unshare: string | undefined;
}

export class OciEngine implements ContainerEngine {
  readonly name: string;
  readonly #options: OciEngineOptions;
  readonly #programs: Programs;
  readonly #toJournal: boolean;
  /** For what ends soon; its own, so that a start that hangs holds up no removal. */
  readonly #helpers: HelperShell;
  /** For conmon. */
  readonly #starter: TalkingShell;
  /** Of crun. */
  readonly #sealed: SealedProgram | undefined;
  readonly #commandTimeoutMs: number;

  constructor(options: OciEngineOptions, programs: Programs) {
    this.name = programs.choice.name;
    this.#commandTimeoutMs = options.commandTimeoutMs ?? COMMAND_TIMEOUT_MS;
    this.#options = options;
    this.#programs = programs;
    this.#toJournal = options.log === undefined ? existsSync(JOURNAL_SOCKET) : options.log === 'journal';
    const { choice, shell, unshare } = programs;
    const { hiddenMount } = choice;
    const shells = {
      shell,
      hidden: hiddenMount === undefined || unshare === undefined ? undefined : { mountPoint: hiddenMount, unshare },
      name: options.stateRoot,
      place: (pid: number) => this.#moveHelper(pid),
    };
    this.#helpers = new HelperShell(shells);
    this.#starter = new TalkingShell(shells);
    const works = async (path: string) => {
      const timeoutMs = this.#commandTimeoutMs;
      const signal = AbortSignal.timeout(timeoutMs);
      return (await this.#helpers.run([path, '--version'], { signal, timeoutMs })).exitCode === 0;
    };
    this.#sealed = choice.name === 'crun' ? new SealedProgram(choice.executable, works, options.logger) : undefined;
  }

  async run(request: RunRequest, signal: AbortSignal): Promise<number> {
    throwIfCanceled(signal);
    faultPoint('oci-runtime.run');
    try {
      const complaints = join(request.bundleDir, 'conmon.err');
      const words = [this.#programs.conmon, ...this.#conmonArguments(request, await this.#executable())];
      const pidFile = conmonPidFile(request.bundleDir);
      // conmon leaves a file named "oom" where it stands.
      const place = { directory: request.bundleDir, variable: '_OCI_SYNCPIPE', complaints, pidFile };
      // Of the two it is the runtime that does the work, and that may hang.
      const what = `${this.#programs.choice.executable}, run by conmon,`;
      const options = { what, signal, timeoutMs: this.#commandTimeoutMs, ...place };
      const answer = this.#starter.converse(words, options);
      faultPoint('oci-runtime.spawned');
      const pid = takeAnswer(await answer, request.id, { name: this.name, complaints });
      if (this.name === 'crun') await this.#begin(request.id, signal);
      return pid;
    } catch (error) {
      // Nothing of a failed start may stay.
      await this.abandon(request.id, request.bundleDir, AbortSignal.timeout(this.#commandTimeoutMs)).catch(
        (other: unknown) =>
          this.#options.logger.warn(
            { id: request.id, error: asAosError(other).message },
            'remains of a failed start stay',
          ),
      );
      throw error;
    }
  }

  /** Where the container does not wait as we know it, the runtime is asked, which has words for what is wrong. */
  async #begin(id: string, signal: AbortSignal): Promise<void> {
    faultPoint('oci-runtime.created');
    if (beginCreated(join(this.#options.stateRoot, id))) return;
    const { exitCode, output } = await this.#call(['start', id], signal);
    if (exitCode === 0) return;
    throw new AosError('runtime', `${this.name} cannot start the container: ${runtimeComplaint(output)}`, {
      fields: { id },
    });
  }

  isCreatedOnly(id: string): boolean {
    return isCreatedOnly(join(this.#options.stateRoot, id));
  }

  /** A helper that stays in our cgroup is worse than one outside, and better than an instance that does not start. */
  #moveHelper(pid: number): void {
    try {
      this.#options.cgroups.move(this.#options.helperCgroup, pid);
    } catch (error) {
      this.#options.logger.warn({ error: asAosError(error).message }, 'a helper stays in the cgroup of the daemon');
    }
  }

  /** conmon goes on without whoever started it, so it is ended first, with what a runtime that hangs has started. */
  async abandon(id: string, bundleDir: string, signal: AbortSignal): Promise<void> {
    const conmon = readPid(conmonPidFile(bundleDir));
    const identity = conmon === undefined ? undefined : identifyProcess(conmon);
    if (identity && commandLineOf(identity.pid).includes(id)) endDescendants(identity.pid);
    await this.remove(id, signal);
  }

  async remove(id: string, signal: AbortSignal): Promise<void> {
    if (!existsSync(join(this.#options.stateRoot, id))) return;
    faultPoint('oci-runtime.remove');
    const { exitCode, output } = await this.#call(['delete', '--force', id], signal);
    if (exitCode === 0 || /does not exist|no such file/i.test(output)) return;
    throw new AosError('runtime', `${this.name} cannot delete container ${id}: ${runtimeComplaint(output)}`, {
      exitCode,
    });
  }

  async forget(id: string): Promise<void> {
    faultPoint('oci-runtime.forget');
    await rm(join(this.#options.stateRoot, id), { recursive: true, force: true });
  }

  exec(id: string, command: readonly string[], signal: AbortSignal): Promise<ExecResult> {
    return this.#call(['exec', id, ...command], signal);
  }

  execLine(id: string, processFile: string): readonly string[] {
    const { choice, shell, unshare } = this.#programs;
    const words = [choice.executable, '--root', this.#options.stateRoot, 'exec', '--process', processFile, id];
    return [...withoutMount(choice.hiddenMount, { shell, unshare }), ...words];
  }

  async #call(words: readonly string[], signal: AbortSignal): Promise<ExecResult> {
    const call = [await this.#executable(), '--root', this.#options.stateRoot, ...words];
    return await this.#helpers.run(call, { signal, timeoutMs: this.#commandTimeoutMs });
  }

  /** Where the runtime is executed from now. */
  async #executable(): Promise<string> {
    return (await this.#sealed?.path()) ?? this.#programs.choice.executable;
  }

  /** Ends what helped here; containers go on. */
  async close(): Promise<void> {
    await Promise.all([this.#helpers.close(), this.#starter.close()]);
    this.#sealed?.close();
    const { bundleRoot } = this.#options;
    if (this.#programs.unshare !== undefined && bundleRoot !== undefined) await unshareDirectory(bundleRoot);
  }

  async compiledSeccomp(id: string): Promise<Uint8Array | undefined> {
    if (this.name !== 'crun') return undefined;
    try {
      return await readFile(join(this.#options.stateRoot, id, 'seccomp.bpf'));
    } catch (error) {
      // A container without a filter, or one that is already gone.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw asAosError(error, `cannot read the filter of container ${id}`);
    }
  }

  async list(): Promise<string[]> {
    try {
      return await readdir(this.#options.stateRoot);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw asAosError(error, `cannot list the containers of ${this.name}`);
    }
  }

  /** The program's own words about itself, for people. */
  version(signal: AbortSignal): Promise<string> {
    return mustExec(this.#programs.choice.executable, ['--version'], { signal, timeoutMs: this.#commandTimeoutMs });
  }

  #conmonArguments({ id, bundleDir, exitDir, logFile }: RunRequest, executable: string): string[] {
    const { shell } = this.#programs;
    const { stateRoot } = this.#options;
    // The first word that conmon appends is `create`.
    const run = 'root=$1; shift 2; exec "$0" --root "$root" run --detach "$@"';
    const [runtime, args] =
      this.name === 'crun' ? [executable, ['--root', stateRoot]] : [shell, ['-c', run, executable, stateRoot]];
    return [
      ...['--cid', id, '--cuuid', id, '--name', id],
      ...['--runtime', runtime, ...args.map((word) => `--runtime-arg=${word}`)],
      ...['--bundle', bundleDir, '--full-attach', '--exit-dir', exitDir, '--no-sync-log'],
      ...['--container-pidfile', join(bundleDir, 'pid'), '--conmon-pidfile', conmonPidFile(bundleDir)],
      ...(this.#toJournal
        ? ['--log-path', 'journald']
        : [
            '--log-path',
            `k8s-file:${logFile}`,
            '--log-size-max',
            String(this.#options.logFileBytes ?? LOG_FILE_BYTES),
          ]),
    ];
  }
}

interface AnswerFacts {
  /** Of the runtime. */
  readonly name: string;
  /** File with what conmon complained about. */
  readonly complaints: string;
}

/** The process number in what conmon answers; it is empty when conmon ended without a word. */
function takeAnswer(text: string, id: string, { name, complaints }: AnswerFacts): number {
  if (text === '') throw new AosError('runtime', `conmon gave up: ${quote(readText(complaints)) || 'it said nothing'}`);
  const { pid, message } = parseAnswer(text, id);
  if (pid > 0) return pid;
  throw new AosError('runtime', `${name} cannot start the container: ${runtimeComplaint(message)}`, { fields: { id } });
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // It was never opened: there is nothing to quote.
    return '';
  }
}

function parseAnswer(text: string, id: string): { readonly pid: number; readonly message: string } {
  try {
    const { pid, data, message } = JSON.parse(text) as { pid?: number; data?: number; message?: string };
    return { pid: pid ?? data ?? -1, message: message ?? 'no reason was given' };
  } catch (error) {
    throw asAosError(error, `conmon of ${id} answered "${quote(text)}"`);
  }
}

const conmonPidFile = (bundleDir: string) => join(bundleDir, 'conmon.pid');

function readPid(path: string): number | undefined {
  try {
    return Number(readFileSync(path, 'utf8').trim()) || undefined;
  } catch {
    // It was never written: there is no process to find.
    return undefined;
  }
}
