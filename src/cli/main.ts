/** aosctl: the command line of operators and developers. */
import { Command } from 'commander';
import { asAosError } from '../core/index.ts';
import { adjustCommands } from './commands/adjust.ts';
import { alertsCommand } from './commands/alerts.ts';
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
import type { Output } from './output.ts';
import { loadProfile, mergeProfile, type Profile } from './profile.ts';

interface GlobalOptions extends Profile {
  readonly json?: boolean;
  readonly profile?: string;
}

const abort = new AbortController();
process.once('SIGINT', () => abort.abort());
process.once('SIGTERM', () => abort.abort());
// Whoever reads our answer has read enough: `aosctl … | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? EXIT.done : EXIT.failed),
);

const program = new Command('aosctl')
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
  .option('--socket <path>', 'control socket of the local CM (default: $AOS_CM_SOCKET, /run/aos/cm.sock)')
  .exitOverride()
  .showHelpAfterError('(aosctl --help shows all commands)');

/** Runs a command's action with its context; every failure ends here, in one line and an exit code. */
async function run(action: (context: Context) => Promise<void>): Promise<void> {
  const { json = false, profile, ...options } = program.opts<GlobalOptions>();
  const output: Output = {
    json,
    line: (text) => process.stdout.write(`${text}\n`),
    note: (text) => process.stderr.write(`${text}\n`),
  };
  const named = profile ?? process.env.AOSCTL_PROFILE;
  let context: Context | undefined;
  try {
    const merged = mergeProfile(loadProfile(named), options);
    context = new Context({ profile: merged, namesUnit: options.unit !== undefined, output, signal: abort.signal });
    await action(context);
  } catch (error) {
    const { code, message } = asAosError(error);
    process.exitCode = exitCodeOf(error);
    if (json) output.line(JSON.stringify({ error: { code, message } }));
    output.note(`aosctl: ${message}`);
  } finally {
    context?.close();
  }
}

provisionCommand(program, run);
publishCommand(program, run);
devCommand(program, run);
deployCommands(program, run);
adjustCommands(program, run);
memberCommands(program, run);
nodeCommands(program, run);
statusCommands(program, run);
eventsCommand(program, run);
logsCommand(program, run);
execCommand(program, run);
usageCommands(program, run);
alertsCommand(program, run);
whyCommands(program, run);
updateCommands(program, run);
doctorCommand(program, run);
configCommand(program, run);
supportBundleCommand(program, run);
completionCommands(program);
fleetCommands(program, run);
peopleCommands(program, run);

try {
  await program.parseAsync();
} catch (error) {
  // commander has printed its own words already; help and version are no errors.
  const { exitCode } = error as { exitCode?: number };
  if (exitCode === undefined) throw error;
  process.exitCode = exitCode === 0 ? EXIT.done : EXIT.usage;
}
