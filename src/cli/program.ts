/** What aosctl does with a command line. `main.ts` gives it a process, tests give it a page. */
import { Command } from 'commander';
import { asAosError } from '../core/index.ts';
import { adjustCommands } from './commands/adjust.ts';
import { alertsCommand } from './commands/alerts.ts';
import { bundleCommands } from './commands/bundle.ts';
import { completionCommands } from './commands/completion.ts';
import { configCommand } from './commands/config.ts';
import { deployCommands } from './commands/deploy.ts';
import { devCommand } from './commands/dev.ts';
import { doctorCommand } from './commands/doctor.ts';
import { eventsCommand } from './commands/events.ts';
import { execCommand } from './commands/exec.ts';
import { fleetCommands } from './commands/fleet.ts';
import { logsCommand } from './commands/logs.ts';
import { memberCommands } from './commands/members.ts';
import { nodeCommands } from './commands/node.ts';
import { peopleCommands } from './commands/people.ts';
import { provisionCommand } from './commands/provision.ts';
import { publishCommand } from './commands/publish.ts';
import { statusCommands } from './commands/status.ts';
import { supportBundleCommand } from './commands/support-bundle.ts';
import { updateCommands } from './commands/update.ts';
import { usageCommands } from './commands/usage.ts';
import { whyCommands } from './commands/why.ts';
import { Context } from './context.ts';
import { EXIT, exitCodeOf } from './exit-codes.ts';
import { plainWords } from './plain-words.ts';
import { loadProfile, mergeProfile, type Profile } from './profile.ts';
import { type Stream, Terminal } from './terminal.ts';

export const VERSION = '0.1.0';

interface GlobalOptions extends Profile {
  readonly json?: boolean;
  readonly profile?: string;
}

/** What a process has. */
export interface Surroundings {
  readonly stdout: Stream;
  readonly stderr: Stream;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts with Ctrl-C. */
  readonly signal: AbortSignal;
}

/** Runs a command line (without the names of node and of the script); every failure ends in one line and an exit code. */
export async function aosctl(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { stdout, stderr, env, signal } = surroundings;
  let exitCode: number = EXIT.done;
  // No option of commander's: it would take `--version` from `deploy` and others, whose own it is.
  if (args.length === 1 && args[0] === '--version') {
    stdout.write(`aosctl ${VERSION}\n`);
    return exitCode;
  }
  let program: Command;
  const run = async (action: (context: Context) => Promise<void>): Promise<void> => {
    const { json = false, profile, ...options } = program.opts<GlobalOptions>();
    const output = new Terminal({ stdout, stderr, env, json });
    let context: Context | undefined;
    try {
      const merged = mergeProfile(loadProfile(profile ?? env.AOSCTL_PROFILE), options);
      context = new Context({ profile: merged, namesUnit: options.unit !== undefined, output, signal });
      await action(context);
      exitCode = context.exitCode;
    } catch (error) {
      const { code, message: said } = asAosError(error);
      const message = plainWords(said);
      exitCode = exitCodeOf(error);
      if (json) output.line(JSON.stringify({ error: { code, message } }));
      output.note(`aosctl: ${message}`);
    } finally {
      output.close();
      context?.close();
    }
  };
  program = commandsOf(run, stdout, stderr);
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    // commander has printed its own words already; help and version are no errors.
    const { exitCode: its, code, message } = error as { exitCode?: number; code?: string; message: string };
    if (its === undefined) throw error;
    if (its === 0) return EXIT.done;
    // Programs read what is wrong where they read answers. Without a command commander shows all of them, and says nothing.
    const wrong = code === 'commander.help' ? 'a command is missing' : message.replace(/^error: /, '');
    if (wantsJson(args)) stdout.write(`${JSON.stringify({ error: { code: 'invalidArgument', message: wrong } })}\n`);
    return EXIT.usage;
  }
  return exitCode;
}

/** What commander has not read when the command line is wrong. What follows `--` is for others. */
function wantsJson(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  return (end < 0 ? args : args.slice(0, end)).includes('--json');
}

/** Who got an argument wrong is shown the way to the help of that command, not of all. */
function nameHelp(command: Command, words: string): void {
  for (const one of command.commands) {
    const name = `${words} ${one.name()}`;
    one.showHelpAfterError(`(${name} --help tells more)`);
    nameHelp(one, name);
  }
}

/** All commands, with what runs their actions. */
export function commandsOf(
  run: (action: (context: Context) => Promise<void>) => Promise<void>,
  stdout: Stream,
  stderr: Stream,
): Command {
  const program = new Command('aosctl');
  // Commands inherit this, so it comes first.
  program
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      getOutHelpWidth: () => stdout.columns ?? 80,
      getErrHelpWidth: () => stderr.columns ?? 80,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .showHelpAfterError('(aosctl --help shows all commands)');
  program
    .description('Provisions units, publishes and deploys items, shows what runs and why.')
    .option('--json', 'answers for programs')
    .option('--profile <file>', 'file with the options below (default: $AOSCTL_PROFILE, ~/.config/aosctl.json)')
    .option('--cloud <url>', 'REST address of the cloud: https://host:10000')
    .option('--cert <file>', "operator's certificate (PEM)")
    .option('--key <file>', "operator's key (PEM)")
    .option('--p12 <file>', "operator's certificate and key in PKCS#12, instead of --cert and --key")
    .option('--ca <file>', "root certificate of the cloud (PEM); default: the system's")
    .option('--unit <systemId>', 'the unit that is meant')
    .option('--because <text>', 'why something is changed, for the audit of the cloud')
    .option('--socket <path>', 'control socket of the local CM (default: $AOS_CM_SOCKET, /run/aos/cm.sock)');
  program.addHelpText('after', '\naosctl --version tells the version, aosctl man-page the whole manual.');
  program.commandsGroup('What there is, here or with --unit through the cloud:');
  statusCommands(program, run);
  eventsCommand(program, run);
  logsCommand(program, run);
  usageCommands(program, run);
  alertsCommand(program, run);
  program.commandsGroup('This machine:');
  whyCommands(program, run);
  updateCommands(program, run);
  execCommand(program, run);
  doctorCommand(program, run);
  configCommand(program, run);
  supportBundleCommand(program, run);
  program.commandsGroup('For authors of services:');
  devCommand(program, run);
  publishCommand(program, run);
  program.commandsGroup('A unit and its cloud:');
  provisionCommand(program, run);
  deployCommands(program, run);
  adjustCommands(program, run);
  memberCommands(program, run);
  nodeCommands(program, run);
  program.commandsGroup('A unit without a cloud:');
  bundleCommands(program, run);
  program.commandsGroup('Many units:');
  fleetCommands(program, run);
  program.commandsGroup('People:');
  peopleCommands(program, run);
  program.commandsGroup('Your shell:');
  completionCommands(program, VERSION, (text) => void stdout.write(text));
  nameHelp(program, 'aosctl');
  return program;
}
