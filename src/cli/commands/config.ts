import { type Command, Option } from 'commander';
import type { CheckReport } from '../../daemon/index.ts';
import { checkFile, KINDS, type Kind, kindOf } from '../check-file.ts';
import type { Context } from '../context.ts';
import { EXIT } from '../exit-codes.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

export function configCommand(program: Command, run: Run): void {
  program
    .command('config')
    .description('configuration files')
    .command('check <file...>')
    .description(
      'judges files before a daemon or the cloud reads them: what is wrong, in which line, what was expected',
    )
    .addOption(new Option('--kind <kind>', 'what the files are; default: by their names').choices(KINDS))
    .addHelpText(
      'after',
      '\nA "unit" is a unit configuration, an "item" the item configuration of a service, "resources" what a node may give to them.',
    )
    .action((files: string[], options: { readonly kind?: Kind }) =>
      run(async (context) => {
        const { output } = context;
        const reports = await Promise.all(files.map((file) => checkFile(file, options.kind ?? kindOf(file))));
        if (output.json) output.line(JSON.stringify(reports, null, 2));
        else for (const line of reports.flatMap(linesOf)) output.line(line);
        if (reports.some(({ problem }) => problem !== undefined)) context.exitCode = EXIT.failed;
      }),
    );
}

function linesOf({ path, problem, warnings }: CheckReport): string[] {
  const told = [...(problem === undefined ? [] : [problem]), ...warnings.map((text) => `warning: ${text}`)];
  return told.length === 0 ? [`${path}: ok`] : told.map((text) => (text.includes(path) ? text : `${path}: ${text}`));
}
