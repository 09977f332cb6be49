/** Runs a helper of the host, bounded in time and output. */
import { execFile } from 'node:child_process';
import { AosError, asAosError, canceledBy } from '../../core/index.ts';

const MAX_OUTPUT_BYTES = 256 * 1024;

export interface CommandOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** Exit codes that are handed back in place of an error. Default: 0 alone. */
  readonly okCodes?: readonly number[];
}

export interface CommandResult {
  readonly exitCode: number;
  /** Standard output and error. */
  readonly output: string;
}

/**
 * Runs a program without a shell. Throws `runtime` with the exit status and the program's own words, `timeout`, and
 * `canceled`; `notFound` when the program is not installed.
 */
export function runCommand(command: string, args: readonly string[], options: CommandOptions): Promise<CommandResult> {
  const { NOTIFY_SOCKET: _, ...env } = process.env;
  return new Promise((resolve, reject) => {
    execFile(
      command,
      [...args],
      {
        env: { ...env, LC_ALL: 'C' },
        maxBuffer: MAX_OUTPUT_BYTES,
        signal: options.signal,
        timeout: options.timeoutMs,
        killSignal: 'SIGKILL',
      },
      (error, stdout, stderr) => {
        const output = `${stdout}${stderr}`.trim();
        if (!error) return resolve({ exitCode: 0, output });
        if (options.signal.aborted) return reject(canceledBy(options.signal));
        if (error.killed) {
          return reject(new AosError('timeout', `${command} did not end within ${options.timeoutMs} ms`));
        }
        if (typeof error.code === 'string') return reject(asAosError(error, `cannot run ${command}`));
        const exitCode = error.code ?? -1;
        if (options.okCodes?.includes(exitCode)) return resolve({ exitCode, output });
        const text = output.slice(0, 512) || 'it said nothing';
        reject(new AosError('runtime', `${command}: exit=${exitCode}: ${text}`, { exitCode }));
      },
    );
  });
}
