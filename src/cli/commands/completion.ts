import { Argument, type Command } from 'commander';
import { completionScript, manPage, SHELLS, type Shell } from '../completion.ts';
import { EXIT_MEANINGS } from '../exit-codes.ts';

export function completionCommands(program: Command, version: string, write: (text: string) => void): void {
  program
    .command('completion')
    .addArgument(new Argument('<shell>', 'for which shell').choices(SHELLS))
    .description('prints what a shell needs to complete commands and options')
    .addHelpText('after', '\nbash: source <(aosctl completion bash). The package installs it for all users.')
    .action((shell: Shell) => {
      write(completionScript(program, shell));
    });
  program
    .command('man-page')
    .description('prints the manual in roff: aosctl man-page | man -l -')
    .action(() => {
      write(manPage(program, version, EXIT_MEANINGS));
    });
}
