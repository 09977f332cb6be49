import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { AosError, asAosError } from '../../core/index.ts';
import type { Context } from '../context.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

const SHELL = '/bin/sh';
const SIGNAL_BASE = 128;

export function execCommand(program: Command, run: Run): void {
  program
    .command('exec <instance> [command...]')
    .description(
      `runs a command in an instance on this node, with its user, limits and view of the files: aosctl exec <instance> -- ls -l /; without a command ${SHELL}`,
    )
    .option('-T, --no-tty', 'no terminal for the command, even if there is one')
    .addHelpText('after', '\nThe exit code is that of the command; 128 and its number for a signal that ended it.')
    .action((instance: string, command: string[], options: { readonly tty: boolean }) =>
      run((context) => exec(context, instance, { command: command.length === 0 ? [SHELL] : command, ...options })),
    );
}

interface ExecOptions {
  readonly command: readonly string[];
  readonly tty: boolean;
}

async function exec(context: Context, instance: string, { command, tty }: ExecOptions): Promise<void> {
  if (context.namesUnit) {
    throw new AosError('invalidArgument', 'a command runs on the node itself: log in there, and leave --unit out');
  }
  const terminal = tty && process.stdin.isTTY === true && process.stdout.isTTY === true;
  const question = { instance, command, terminal };
  const execution = await context.askDaemon<{ words: [string, ...string[]]; process: string }>('sm', '/exec', question);
  const [file, ...args] = execution.words;
  // Keys and signals of the terminal are for the command; we only wait for its end, and are not to be ended.
  process.removeAllListeners('SIGINT');
  process.on('SIGINT', () => undefined);
  const description = unnamedFile(execution.process);
  try {
    const child = spawn(file, args, { stdio: ['inherit', 'inherit', 'inherit', description] });
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    context.exitCode = code ?? SIGNAL_BASE + constants.signals[signal!];
  } catch (error) {
    throw asAosError(error, `cannot run ${file}; aosctl exec needs root`);
  } finally {
    closeSync(description);
  }
}

/** An open file with this content that nobody else finds: the environment of an instance may hold secrets. */
function unnamedFile(content: string): number {
  const path = join(tmpdir(), `aosctl-exec-${randomUUID()}`);
  const file = openSync(path, 'wx+', 0o600);
  unlinkSync(path);
  writeSync(file, content);
  return file;
}
