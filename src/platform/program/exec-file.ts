/** Runs a program to its end, within bounds. */
import { spawn } from 'node:child_process';
import { AosError, asAosError, canceledBy, throwIfCanceled } from '../../core/index.ts';

const MAX_OUTPUT_CHARACTERS = 4096;
/** After the end of a program, how long its output may be held up by another process. */
const HELD_PIPES_MS = 200;
/** How much of a program's words an error repeats (spec/sm.md 0.6). */
const MAX_QUOTED_CHARACTERS = 128;

export interface ExecResult {
  readonly exitCode: number;
  /** The first bytes of both outputs. */
  readonly output: string;
}

/** Runs programs to their end, as `execProgram` does. */
export interface Programs {
  run(words: readonly string[], options: ExecOptions): Promise<ExecResult>;
}

export interface ExecOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** What it reads; nothing when absent. */
  readonly input?: string | undefined;
}

/** Programs that we start tell no service manager about their readiness on our behalf. */
export function helperEnvironment(more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const { NOTIFY_SOCKET: _, ...environment } = process.env;
  return { ...environment, ...more };
}

/** Why a program is ended early. Where whoever asked for it has no more time, the program is named: it is the one that hangs. */
export function endedEarly(what: string, signal: AbortSignal, startedMs: number): AosError {
  const { reason } = signal;
  if (!(reason instanceof Error) || reason.name !== 'TimeoutError') return canceledBy(signal);
  return new AosError('timeout', `${what} did not end within ${Math.round(performance.now() - startedMs)} ms`);
}

/** Exit code and output; a signal counts as -1. Throws `timeout`, `canceled`, or the error of a failed start. */
export function execProgram(file: string, args: readonly string[], options: ExecOptions): Promise<ExecResult> {
  throwIfCanceled(options.signal);
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], env: helperEnvironment() });
    let output = '';
    const take = (chunk: string) => {
      if (output.length < MAX_OUTPUT_CHARACTERS) output += chunk.slice(0, MAX_OUTPUT_CHARACTERS - output.length);
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    let failure: AosError | undefined;
    const end = (error: AosError) => {
      failure = error;
      child.kill('SIGKILL');
    };
    const startedMs = performance.now();
    const onAbort = () => end(endedEarly(file, options.signal, startedMs));
    const timer = setTimeout(
      () => end(new AosError('timeout', `${file} did not end within ${options.timeoutMs} ms`)),
      options.timeoutMs,
    );
    options.signal.addEventListener('abort', onAbort, { once: true });
    const done = () => {
      clearTimeout(timer);
      options.signal.removeEventListener('abort', onAbort);
    };
    child.on('error', (error) => {
      done();
      reject(asAosError(error, `cannot run ${file}`));
    });
    const settle = (code: number | null) => {
      done();
      child.stdout.destroy();
      child.stderr.destroy();
      if (failure) reject(failure);
      else resolve({ exitCode: code ?? -1, output });
    };
    child.on('close', settle);
    // A surviving grandchild may hold the pipes open: what it says later is not waited for.
    child.on('exit', (code) => setTimeout(settle, HELD_PIPES_MS, code).unref());
    // A program that ends without reading its input is judged by its exit code.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}

/** Each as a child of this process: a fork of all of it. */
export const OWN_CHILDREN: Programs = {
  run: ([file = '', ...args], options) => execProgram(file, args, options),
};

/** As `execProgram`; any exit code but 0 is a `runtime` error that quotes the program. */
export async function mustExec(
  file: string,
  args: readonly string[],
  options: ExecOptions,
  programs = OWN_CHILDREN,
): Promise<string> {
  const { exitCode, output } = await programs.run([file, ...args], options);
  if (exitCode === 0) return output;
  // `ip link` says more than `ip`, an option less.
  const what = args[0] === undefined || args[0].startsWith('-') ? file : `${file} ${args[0]}`;
  throw new AosError('runtime', `${what}: exit=${exitCode}: ${quote(output)}`, { exitCode });
}

/** The beginning of a program's words, on one line. */
export function quote(output: string): string {
  const text = output.trim().replaceAll(/\s+/g, ' ');
  return text.length > MAX_QUOTED_CHARACTERS ? `${text.slice(0, MAX_QUOTED_CHARACTERS)}...` : text;
}

/** What a container runtime complains about: runc writes a log to its error output, crun a sentence. */
export function runtimeComplaint(output: string): string {
  const errors = [...output.matchAll(/level=(?:error|fatal) msg="((?:[^"\\]|\\.)*)"/g)];
  const last = errors.at(-1)?.[1];
  return quote(last === undefined ? output : last.replaceAll('\\"', '"'));
}
