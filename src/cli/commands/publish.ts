import { type Command, Option } from 'commander';
import type { Context } from '../context.ts';
import type { PublishOptions } from '../publish/publish.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

export function publishCommand(program: Command, run: Run): void {
  program
    .command('publish <path>')
    .description(
      'upload an item: an OCI image layout (folder or archive), an archive of docker save, or a folder with config.yaml',
    )
    .option('--id <id>', 'which item it is')
    .option('--version <version>', 'its version; it must be higher than those published before')
    .option('--title <text>', 'how people call it')
    .option('--config <file>', 'item configuration of an image (JSON)')
    .addOption(new Option('--type <type>', 'what an image is (default: service)').choices(['service', 'component']))
    .option('--owner <id>', 'whose it is; items of one owner share a network')
    .option('--tag <name>', 'which image of a layout with several')
    .addHelpText(
      'after',
      '\nconfig.yaml is looked for in the folder and in its meta/; it may be of either generation, and then says id, ' +
        'version and configuration. Sizes in it: k, M, G are powers of 1024.',
    )
    .action((path: string, options: PublishOptions) =>
      run(async (context) => {
        const { publish } = await import('../publish/publish.ts');
        await publish(path, options, context);
      }),
    );
}
