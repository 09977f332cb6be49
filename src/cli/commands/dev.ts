import type { Command } from 'commander';
import type { Context } from '../context.ts';
import type { DevOptions } from '../publish/develop.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

export function devCommand(program: Command, run: Run): void {
  program
    .command('dev <path>')
    .description(
      'runs what lies in a folder on the unit of this machine, again after each change, with its logs here: a folder with config.yaml or an OCI layout; Ctrl-C removes it',
    )
    .option('--id <id>', 'which item it is (default: that of config.yaml, with "-dev" behind it)')
    .option('--config <file>', 'item configuration of an OCI layout (JSON)')
    .option('--tag <name>', 'which image of a layout with several')
    .addHelpText(
      'after',
      '\nIt goes the way of every service: published at the cloud of the profile, deployed by it, with the quotas, permissions ' +
        'and network it will have in the field.',
    )
    .action((path: string, options: DevOptions) =>
      run(async (context) => {
        const { develop } = await import('../publish/develop.ts');
        await develop(path, options, context);
      }),
    );
}
