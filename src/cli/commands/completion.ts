import { Argument, type Command } from 'commander';
import { completionScript, manPage, SHELLS, type Shell } from '../completion.ts';
import { EXIT_MEANINGS } from '../exit-codes.ts';

const VERSION = '0.1.0';

export function completionCommands(program: Command): void {
  program
    .command('completion')
    .addArgument(new Argument('<shell>', 'for which shell').choices(SHELLS))
    .description('prints what a shell needs to complete commands and options')
    .addHelpText('after', '\nbash: source <(aosctl completion bash). The package installs it for all users.')
    .action((shell: Shell) => {
      process.stdout.write(completionScript(program, shell));
    });
  program
    .command('man-page')
    .description('prints the manual in roff: aosctl man-page | man -l -')
    .action(() => {
      process.stdout.write(manPage(program, VERSION, EXIT_MEANINGS));
    });
}
