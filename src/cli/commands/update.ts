import { Argument, type Command } from 'commander';
import type { UnitReport } from '../../daemon/index.ts';
import type { Context } from '../context.ts';
import { checkDuration } from '../options.ts';
import { printResult, sinceOf } from '../output.ts';
import { watchable } from '../watch.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;
type Lock = NonNullable<UnitReport['update']['locks']>[number];

const lockLine = ({ owner, reason, until }: Lock): string => `${owner} holds updates up until ${until}: ${reason}`;

export function updateCommands(program: Command, run: Run): void {
  const update = program.command('update').description('the running update of this machine, and who holds it up');
  watchable(update, run, async (context) => {
    context.mustBeHere();
    const { output, askLocal } = context;
    const report = (await askLocal<UnitReport>('/status')).update;
    printResult(output, report, [
      `${report.state}${sinceOf(report.since)}`,
      ...(report.waitsFor === undefined ? [] : [`waits: ${report.waitsFor}`]),
      ...(report.locks ?? []).map(lockLine),
    ]);
  });

  update
    .command('start')
    .addArgument(new Argument('[kind]', 'what is released').choices(['sota', 'fota']))
    .description('releases what waits: sota (services, the default) or fota (components)')
    .action((kind: string | undefined) =>
      run(async (context) => {
        context.mustBeHere();
        const { output, askLocal } = context;
        await askLocal('/update/start', { ...(kind !== undefined && { kind }) });
        const released = kind ?? 'sota';
        printResult(output, { kind: released, state: 'released' }, [`${released} is released`]);
      }),
    );

  update
    .command('lock')
    .description('holds updates up; downloads go on')
    .requiredOption('--owner <name>', 'who holds it; an owner has one lock, the newest')
    .requiredOption('--reason <text>', 'why, for people')
    .requiredOption('--for <duration>', 'until it expires by itself: 30m, 2h; at most 7 days', checkDuration)
    .action((options: { readonly owner: string; readonly reason: string; readonly for: string }) =>
      run(async (context) => {
        context.mustBeHere();
        const { output, askLocal } = context;
        const { owner, reason, for: duration } = options;
        const lock = await askLocal<Lock>('/update/lock', { owner, reason, duration });
        printResult(output, lock, [lockLine(lock)]);
      }),
    );

  update
    .command('unlock')
    .description('ends a lock')
    .requiredOption('--owner <name>', 'whose lock')
    .action(({ owner }: { readonly owner: string }) =>
      run(async (context) => {
        context.mustBeHere();
        const { output, askLocal } = context;
        await askLocal('/update/unlock', { owner });
        printResult(output, { owner, state: 'unlocked' }, [`${owner} holds updates up no longer`]);
      }),
    );
}
