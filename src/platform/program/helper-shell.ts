/**
 * Starts programs by a small shell that lives as long as we do.
 *
 * A fork of our own process copies its page tables and holds up everything else until the program runs: 5 ms and more,
 * twenty on a busy machine. A shell forks in a fraction of that. It is also put once where its children belong: into the
 * cgroup of the helpers, and, for crun on hosts with controllers of version 1, into a mount namespace without the tree of
 * version 2 (spec/decisions.md 5.2); doing the same for each container costs as much as starting it.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { Duplex, Readable, Writable } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';
import { AosError, asAosError, throwIfCanceled } from '../../core/index.ts';
import { childrenOf, commandLineOf, endDescendants } from '../proc/index.ts';
import { type ExecOptions, type ExecResult, endedEarly, helperEnvironment, type Programs, quote } from './exec-file.ts';

/** Longest answer of a job: with number and code it fits into what a pipe takes as a whole. */
const MAX_ANSWER_BYTES = 3_500;
const MAX_COMPLAINT_CHARACTERS = 1_024;
/** Stands for the end of a line within an answer. */
const LINE_MARK = '\x1e';
/** A word of the command line of our shells and of all that they have split off and not yet replaced. */
const MARK = 'aos-helpers';
/** Descriptor of the first pipe after the three that every program has. */
export const FIRST_PIPE = 3;

export interface HelperShellOptions {
  readonly shell: string;
  /** By which it is known to those who come after us. */
  readonly name: string;
  /** Given: a mount point that the programs must not see, and the program that makes a mount namespace. */
  readonly hidden?: { readonly mountPoint: string; readonly unshare: string } | undefined;
  /** Moves the shell where its children shall be; called once for each shell, before it does anything. Absent: where we are. */
  readonly place?: ((pid: number) => void) | undefined;
  /** Given: each shell has so many more pipes, from descriptor 3 on, and whoever wants to read them gets their ends. */
  readonly pipes?: { readonly count: number; readonly onOpen: (pipes: readonly Duplex[]) => void } | undefined;
}

export interface JobOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/** Words of the shell. */
export interface Surroundings {
  readonly before: string;
  readonly redirections: string;
  readonly after: string;
}

interface Job {
  readonly what: string;
  readonly shell: Shell;
  readonly settle: (result: ExecResult | AosError) => void;
  /** Of the job's own shell; it is told a moment after the start. */
  pid?: number;
  /** The command line of a job that the shell does itself. */
  readonly words?: readonly string[];
  isOver: boolean;
}

type Shell = ChildProcessByStdio<Writable, Readable, Readable>;

export class HelperShell implements Programs {
  readonly #options: HelperShellOptions;
  readonly #jobs = new Map<number, Job>();
  #shell: Shell | undefined;
  #lastJob = 0;

  constructor(options: HelperShellOptions) {
    this.#options = options;
  }

  /** Exit code and the first bytes of both outputs. Throws `timeout`, `canceled`, `runtime` when the shell is lost. */
  run(words: readonly string[], options: ExecOptions): Promise<ExecResult> {
    return this.#do(words[0] ?? '', options, (job) => {
      const answer = `IFS="$NL"; set -- $o; IFS="$RS"; printf '%s %s %.${MAX_ANSWER_BYTES}s\\n' ${job} "$c" "$*"`;
      return `set -f; o=$(${command(words)} 2>&1 ${inputOf(options.input)}); c=$?; ${answer}`;
    });
  }

  /**
   * Has the shell itself run a program, between what it does before and after; until the program has left itself in the
   * background or ended, nothing else is begun. That saves all forks of the shell. Answers the exit code; throws as `run`
   * does.
   */
  async runInTurn(
    words: readonly string[],
    { before, redirections, after, ...options }: JobOptions & Surroundings,
  ): Promise<number> {
    const script = (job: number) => `${before} ${command(words)} ${redirections}; echo "${job} $?"; ${after}`;
    return (await this.#do(words[0] ?? '', options, script, words)).exitCode;
  }

  /** From here on there is a shell. */
  open(): void {
    this.#open();
  }

  /** What comes next is done by another shell; this one ends when it has done what it was told. */
  replace(): void {
    this.#shell?.stdin.end();
    this.#shell = undefined;
  }

  /** Ends the shell; what it has started goes on. */
  async close(): Promise<void> {
    const shell = this.#shell;
    if (!shell || shell.exitCode !== null || shell.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => shell.once('exit', () => resolve()));
    shell.ref();
    shell.stdin.end();
    await gone;
  }

  #do(
    what: string,
    { signal, timeoutMs }: JobOptions,
    script: (job: number) => string,
    ownWords?: readonly string[],
  ): Promise<ExecResult> {
    throwIfCanceled(signal);
    const shell = this.#open();
    this.#lastJob += 1;
    const number = this.#lastJob;
    return new Promise((resolve, reject) => {
      const settle = (result: ExecResult | AosError) => {
        if (job.isOver) return;
        job.isOver = true;
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        this.#jobs.delete(number);
        if (this.#jobs.size === 0) rest(shell);
        if (result instanceof AosError) reject(result);
        else resolve(result);
      };
      const job: Job = { what, shell, settle, isOver: false, ...(ownWords && { words: ownWords }) };
      const end = (error: AosError) => {
        endJob(job);
        settle(error);
      };
      const startedMs = performance.now();
      const onAbort = () => end(endedEarly(what, signal, startedMs));
      const timer = setTimeout(
        () => end(new AosError('timeout', `${what} did not end within ${timeoutMs} ms`)),
        timeoutMs,
      );
      signal.addEventListener('abort', onAbort, { once: true });
      if (this.#jobs.size === 0) work(shell);
      this.#jobs.set(number, job);
      // The list of jobs is asked for so that the shell forgets those that have ended.
      const inBackground = () => `jobs >/dev/null; ( ${script(number)} ) & echo "${number} pid $!"`;
      shell.stdin.write(`${ownWords ? script(number) : inBackground()}\n`);
    });
  }

  #open(): Shell {
    if (this.#shell) return this.#shell;
    const { shell, name, hidden, place, pipes } = this.#options;
    const own = ['-s', MARK, name];
    const [file, ...args] = [
      ...withoutMount(hidden?.mountPoint, { shell, unshare: hidden?.unshare }),
      shell,
      ...own,
    ] as [string, ...string[]];
    const child = spawn(file, args, {
      stdio: ['pipe', 'pipe', 'pipe', ...Array.from({ length: pipes?.count ?? 0 }, () => 'pipe' as const)],
      env: helperEnvironment({ LC_ALL: 'C' }),
      // What a terminal sends to our group is meant for us alone.
      detached: true,
    }) as Shell;
    pipes?.onOpen(child.stdio.slice(FIRST_PIPE) as unknown as Duplex[]);
    this.#shell = child;
    let complaint = '';
    let rest = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(-MAX_COMPLAINT_CHARACTERS);
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#take(line);
    });
    const lost = (error: AosError) => {
      if (this.#shell === child) this.#shell = undefined;
      for (const job of [...this.#jobs.values()]) if (job.shell === child) job.settle(error);
    };
    child.on('error', (error) => lost(asAosError(error, 'cannot run the shell that starts helpers')));
    // It may be gone: its end tells so.
    child.stdin.on('error', () => undefined);
    const ended = () =>
      new AosError('runtime', `the shell that starts helpers has ended: ${quote(complaint) || 'it said nothing'}`);
    child.on('close', () => lost(ended()));
    // What it had split off may hold its pipes for as long as it lives, and nobody is left to hand on how it ended.
    child.on('exit', (_code, signal) => {
      if (signal !== null) lost(ended());
    });
    if (child.pid !== undefined) place?.(child.pid);
    child.stdin.write(`NL='\n' RS='${LINE_MARK}'\n`);
    return child;
  }

  #take(line: string): void {
    const [, number, code, answer = ''] = /^(\d+) (\S+) ?(.*)$/s.exec(line) ?? [];
    const job = this.#jobs.get(Number(number));
    if (!job) return;
    if (code === 'pid') job.pid = Number(answer);
    else job.settle({ exitCode: Number(code), output: answer.replaceAll(LINE_MARK, '\n') });
  }
}

/** What the shell does itself is known by its words, whoever else is a child of the shell. */
function endJob({ pid, words, shell }: Job): void {
  if (pid !== undefined) endDescendants(pid);
  if (words === undefined || shell.pid === undefined) return;
  for (const child of childrenOf(shell.pid)) {
    if (isDeepStrictEqual(commandLineOf(child), words)) endDescendants(child);
  }
}

/** While jobs are done, the shell keeps our process from ending; between them it does not. */
function work(shell: Shell): void {
  shell.ref();
  for (const pipe of pipesOf(shell)) pipe.ref?.();
}

function rest(shell: Shell): void {
  shell.unref();
  for (const pipe of pipesOf(shell)) pipe.unref?.();
}

function pipesOf({ stdin, stdout, stderr }: Shell): { ref?(): void; unref?(): void }[] {
  return [stdin, stdout, stderr] as unknown as { ref?(): void; unref?(): void }[];
}

/** The redirection of what a program reads, up to a line that nobody else knows. */
function inputOf(input: string | undefined): string {
  if (input === undefined || input === '') return '</dev/null';
  if (input.includes('\0')) throw new AosError('invalidArgument', 'a helper cannot be given text with a zero in it');
  const end = `end-${randomBytes(8).toString('hex')}`;
  return `<<'${end}'\n${input.endsWith('\n') ? input : `${input}\n`}${end}\n`;
}

function command(words: readonly string[]): string {
  return words.map(quoteWord).join(' ');
}

/** A word as a shell reads it back. Throws `invalidArgument` for what no program can be given. */
export function quoteWord(word: string): string {
  if (word.includes('\0'))
    throw new AosError('invalidArgument', `${JSON.stringify(word)} cannot be handed to a helper`);
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Words before a command line that give it a mount namespace in which a mount point is missing; none without one. */
export function withoutMount(
  mountPoint: string | undefined,
  { shell, unshare }: { readonly shell: string; readonly unshare: string | undefined },
): readonly string[] {
  if (mountPoint === undefined || unshare === undefined) return [];
  return [unshare, '--mount', '--propagation', 'slave', shell, '-c', 'umount -l "$0" && exec "$@"', mountPoint];
}
