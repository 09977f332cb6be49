/** Hooks: commands of the integrator at the steps of provisioning (spec/iam.md 18.1). */
import { spawn } from 'node:child_process';
import { AosError, canceledBy, faultPoint } from '../../core/index.ts';

export interface HookOptions {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Environment of the daemon; without the socket that systemd gave to the daemon alone. */
  readonly env?: NodeJS.ProcessEnv;
}

/** How much of the output an error tells. */
const SHOWN_OUTPUT = 128;
/** How long the output of a hook that has ended is waited for. */
const LAST_WORDS_MS = 200;
const KEPT_OUTPUT = 1024;

/**
 * Runs an argument vector, without a shell; an empty one is success. Resolves when the command itself has ended, even
 * if something it left in the background holds its output. Throws `runtime` with exit status and output, `timeout`
 * when it was killed for taking too long, `canceled` when the daemon stops: the command then goes on by itself.
 */
export async function runHook(command: readonly string[], options: HookOptions): Promise<void> {
  const [program, ...args] = command;
  if (program === undefined) return;
  faultPoint('iam.hook');
  const { NOTIFY_SOCKET: _, ...env } = options.env ?? process.env;
  await new Promise<void>((resolve, reject) => {
    // A group of its own, so that a time-out reaches what the command has started.
    const child = spawn(program, args, { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const collect = (chunk: Buffer) => {
      if (output.length < KEPT_OUTPUT) output += chunk.toString();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const timer = setTimeout(() => {
      process.kill(-child.pid!, 'SIGKILL');
      settle(new AosError('timeout', `hook ${program} took longer than ${options.timeoutMs} ms and was ended`));
    }, options.timeoutMs);
    const onAbort = () => settle(canceledBy(options.signal));
    options.signal.addEventListener('abort', onAbort, { once: true });
    const settle = (error?: AosError) => {
      clearTimeout(timer);
      options.signal.removeEventListener('abort', onAbort);
      child.stdout.destroy();
      child.stderr.destroy();
      child.unref();
      if (error) reject(error);
      else resolve();
    };
    child.once('error', (error) =>
      settle(new AosError('runtime', `cannot start hook ${program}: ${error.message}`, { cause: error })),
    );
    child.once('exit', (code, signal) => {
      // In time; what it left in the background goes on.
      clearTimeout(timer);
      const done = () => {
        clearTimeout(grace);
        settle(code === 0 ? undefined : failure(code, signal, output));
      };
      // What it printed last may still be on its way; what it left behind may keep its output open.
      const grace = setTimeout(done, LAST_WORDS_MS);
      child.once('close', done);
    });
  });
}

function failure(code: number | null, signal: NodeJS.Signals | null, output: string): AosError {
  const status = code ?? -1;
  const text = output.trim();
  const shown = text.length > SHOWN_OUTPUT ? `${text.slice(0, SHOWN_OUTPUT)}...` : text;
  return new AosError('runtime', `exit=${status}${shown === '' ? '' : `: ${shown}`}`, {
    exitCode: status === 0 ? 0 : Math.abs(status),
    fields: { signal },
  });
}
