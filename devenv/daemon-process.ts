/** One daemon under supervision: started, watched, started again after a pause when it dies, ended by its pid. */
import { type ChildProcess, spawn } from 'node:child_process';
import { type EventEmitter, once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PROJECT_ROOT } from './project.ts';

/** Longer than any daemon takes for its own stop (spec/decisions.md 8.2: SM with instances 75 s). */
const STOP_TIMEOUT_MS = 90_000;

export interface DaemonSpec {
  /** Its name: `aos-iam`. */
  readonly program: string;
  /** What Node.js runs; normally the bundle in `dist`. */
  readonly script: string;
  /** Asked at each start. */
  readonly args: () => readonly string[];
  readonly logFile: string;
  /** Remembers the process for `./dev down`. */
  readonly pidFile: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Network namespace that it runs in; absent: that of this process. */
  readonly namespace?: string;
  /** It is killed when this process dies, however it does. Only for a process whose main thread starts it. */
  readonly endsWithUs?: boolean;
  /** Pause before a restart; units of the product wait 10 s. */
  readonly restartPauseMs: number;
}

export type DaemonEvent =
  | { readonly kind: 'started'; readonly program: string; readonly pid: number }
  | { readonly kind: 'ready'; readonly program: string; readonly pid: number; readonly sinceStartMs: number }
  | { readonly kind: 'exited'; readonly program: string; readonly pid: number; readonly how: string };

/** Options of Node.js for daemons, shared with the installed programs. */
export const nodeFlags = (): string[] => linesOf('node-flags.txt');

/** Environment of daemons, shared with the installed programs. */
export const daemonEnvironment = (): Record<string, string> =>
  Object.fromEntries(linesOf('daemon.env').map((line) => line.split('=', 2) as [string, string]));

function linesOf(name: string): string[] {
  return readFileSync(join(PROJECT_ROOT, 'packaging', name), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
}

/** The bundle of a program. */
export function bundleOf(program: string): string {
  return join(PROJECT_ROOT, 'dist', `${program}.mjs`);
}

/**
 * Tells a process from a later one with the same pid: its start time in clock ticks since boot. Undefined for one
 * that has ended, also when nobody has asked for its exit code yet.
 */
export function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

export class DaemonProcess {
  readonly spec: DaemonSpec;
  readonly #events: EventEmitter<{ event: [DaemonEvent] }>;
  #child: ChildProcess | undefined;
  #ready = false;
  #wanted = false;
  #restart: NodeJS.Timeout | undefined;
  /** What follows the end of the process: its pid file goes, its end is told. */
  #afterwards: Promise<void> | undefined;

  constructor(spec: DaemonSpec, events: EventEmitter<{ event: [DaemonEvent] }>) {
    this.spec = spec;
    this.#events = events;
  }

  /** Undefined while it does not run. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get isReady(): boolean {
    return this.#ready;
  }

  /** Whether it is meant to run: between `start` and `stop`, also while it is down after a crash. */
  get isWanted(): boolean {
    return this.#wanted;
  }

  /** Starts it; it is started again whenever it dies, until `stop`. */
  async start(): Promise<void> {
    if (this.#wanted) return;
    this.#wanted = true;
    await this.#spawn();
  }

  /** Ends it for good, with SIGKILL when it does not end in time. Resolves when the process is gone. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.#wanted = false;
    clearTimeout(this.#restart);
    const child = this.#child;
    if (!child) {
      // It has just died: a start that follows at once must not find its restart still being decided.
      await this.#afterwards;
      return;
    }
    const gone = once(child, 'exit');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    child.kill(signal);
    await gone;
    clearTimeout(timer);
    await this.#afterwards;
  }

  /** Sends a signal to the process as it is now; resolves when it has ended. Supervision goes on. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (!child) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
    await this.#afterwards;
  }

  async #spawn(): Promise<void> {
    const { spec } = this;
    await mkdir(dirname(spec.logFile), { recursive: true });
    await mkdir(dirname(spec.pidFile), { recursive: true });
    const log = openSync(spec.logFile, 'a');
    const startedAt = performance.now();
    const words = [
      ...(spec.endsWithUs ? ['setpriv', '--pdeathsig', 'KILL'] : []),
      // Only the network is another one; `ip netns exec` would hide the cgroups too.
      ...(spec.namespace === undefined ? [] : ['nsenter', `--net=/run/netns/${spec.namespace}`]),
      process.execPath,
      ...nodeFlags(),
      spec.script,
      ...spec.args(),
    ];
    const child = spawn(
      words[0]!,
      words.slice(1),
      // Its own session: a Ctrl-C in the terminal reaches the supervisor alone, which stops things in order.
      {
        stdio: ['ignore', log, log, 'ipc'],
        detached: true,
        env: { PATH: process.env.PATH, ...daemonEnvironment(), ...spec.env },
      },
    );
    closeSync(log);
    this.#child = child;
    this.#ready = false;
    const pid = child.pid ?? 0;
    child.once('exit', (code, signal) => this.#exited(pid, signal ?? `status ${code}`));
    child.on('message', () => {
      this.#ready = true;
      const sinceStartMs = performance.now() - startedAt;
      this.#events.emit('event', { kind: 'ready', program: spec.program, pid, sinceStartMs });
    });
    await once(child, 'spawn');
    await writeFile(spec.pidFile, JSON.stringify({ pid, startTime: startTimeOf(pid) }));
    this.#events.emit('event', { kind: 'started', program: spec.program, pid });
  }

  #exited(pid: number, how: string): void {
    this.#child = undefined;
    this.#ready = false;
    const afterwards = async () => {
      await rm(this.spec.pidFile, { force: true });
      this.#events.emit('event', { kind: 'exited', program: this.spec.program, pid, how });
      if (this.#wanted) this.#restart = setTimeout(() => void this.#spawnAgain(), this.spec.restartPauseMs);
    };
    this.#afterwards = afterwards();
  }

  async #spawnAgain(): Promise<void> {
    if (this.#wanted && !this.#child) await this.#spawn();
  }
}
