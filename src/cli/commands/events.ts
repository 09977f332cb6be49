import { type Command, Option } from 'commander';
import { AosError } from '../../core/index.ts';
import type { Context } from '../context.ts';
import { UNREACHABLE } from '../exit-codes.ts';
import type { LocalEvent } from '../local-event.ts';
import { parseCount } from '../options.ts';
import { nameOf } from '../output.ts';
import { readable } from '../readable.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

interface EventOptions {
  readonly watch?: boolean;
  readonly kind?: string;
  readonly about?: string;
  readonly tail: number;
}

const KINDS = ['item', 'instance', 'node', 'update', 'link', 'unit-config'];

export function eventsCommand(program: Command, run: Run): void {
  program
    .command('events')
    .description('what this unit decided and why; with --unit, follow what happens to a unit, as its cloud sees it')
    .option('-w, --watch', 'go on with what happens; ends with Ctrl-C')
    .addOption(new Option('--kind <kind>', 'only about this kind of things').choices(KINDS))
    .option('--about <id>', 'only about this item, instance or node')
    .option('-n, --tail <events>', 'only the newest so many', parseCount, 200)
    .action((options: EventOptions, command: Command) =>
      run((context) => {
        if (!context.namesUnit) return localEvents(context, options);
        const given = ['kind', 'about', 'tail'].filter((name) => command.getOptionValueSource(name) === 'cli');
        if (given.length === 0) return cloudEvents(context);
        const flags = given.map((name) => `--${name}`).join(', ');
        throw new AosError(
          'invalidArgument',
          `a cloud sends all that happens from now on: with --unit leave ${flags} out`,
        );
      }),
    );
}

async function localEvents(context: Context, { watch, kind, about, tail }: EventOptions): Promise<void> {
  const query = { limit: Math.max(1, tail), ...(kind && { kind }), ...(about && { id: about }) };
  if (!watch) {
    const events = await context.askLocal<LocalEvent[]>('/events', query);
    for (const event of events) print(context, event);
    if (events.length === 0)
      context.output.note(`nothing is remembered${about === undefined ? '' : ` about ${about}`}`);
    return;
  }
  for await (const event of context.followDaemon<LocalEvent>('cm', '/events/follow', query)) print(context, event);
}

function print({ output }: Context, event: LocalEvent): void {
  const { at, about, what, because } = event;
  if (output.json) output.line(JSON.stringify(event));
  else output.line(readable(`${at}  ${nameOf(about)}  ${what}${because ? `: ${because}` : ''}`));
}

async function cloudEvents({ cloud, output, signal, unit }: Context): Promise<void> {
  for await (const { event, data } of cloud.events(`/api/units/${encodeURIComponent(unit)}/events`, signal)) {
    output.line(output.json ? JSON.stringify({ event, data }) : `${event}  ${JSON.stringify(data)}`);
  }
  if (signal.aborted) return;
  throw new AosError('failed', `${cloud.url} ended the events; start the command again`, { fields: UNREACHABLE });
}
