import { type Command, InvalidArgumentError } from 'commander';
import { AosError, parseDuration } from '../../core/index.ts';
import type { Context } from '../context.ts';
import { parseCount } from '../options.ts';
import { readable } from '../readable.ts';
import { remoteLogs } from '../remote-observations.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

interface LogOptions {
  readonly follow?: boolean;
  readonly since?: string;
  readonly until?: string;
  readonly tail?: number;
  readonly previous?: boolean;
  readonly timestamps?: boolean;
  readonly wait: number;
}

interface LogLine {
  readonly at: string;
  readonly text: string;
}

/** A moment: `2026-01-01T12:00:00Z`, or how long ago: `90s`, `15m`, `2h`. Answers ISO 8601. */
export function parseMoment(text: string, now = new Date()): string {
  const isDate = /^\d{4}-/.test(text);
  const at = isDate ? new Date(text) : ago(text, now);
  if (at === undefined || Number.isNaN(at.getTime())) {
    throw new InvalidArgumentError('Expected a time such as 2026-01-01T12:00:00Z, or how long ago, such as 15m.');
  }
  return at.toISOString();
}

/** A cloud asks for what was written, and for all of it. */
function refuseHere({ follow, tail, previous, timestamps }: LogOptions): void {
  const given = Object.entries({ follow, tail, previous, timestamps }).filter(([, value]) => value !== undefined);
  if (given.length === 0) return;
  const flags = given.map(([name]) => `--${name}`).join(', ');
  throw new AosError(
    'invalidArgument',
    `a cloud sends what was written, once: with --unit leave ${flags} out; --since and --until narrow it`,
  );
}

function ago(text: string, now: Date): Date | undefined {
  try {
    return new Date(now.getTime() - parseDuration(text));
  } catch {
    // The caller tells what was expected.
    return undefined;
  }
}

export function logsCommand(program: Command, run: Run): void {
  program
    .command('logs [instance]')
    .description(
      'what an instance on this node has written: item/subject/index, or as much of it as is unique; with --unit the cloud asks a unit, without an instance for the log of its system',
    )
    .option('-f, --follow', 'go on with what it writes; ends with Ctrl-C')
    .option('--since <time>', 'only from then on: a time, or how long ago (15m)', (text) => parseMoment(text))
    .option('--until <time>', 'only until then', (text) => parseMoment(text))
    .option('-n, --tail <lines>', 'only the last so many lines of what is there', parseCount)
    .option('-p, --previous', 'of its run before the present one')
    .option('-t, --timestamps', 'put the time before each line')
    .option('--wait <seconds>', 'with --unit: how long to wait for all of its nodes', parseCount, 60)
    .action((instance: string | undefined, options: LogOptions) =>
      run(async (context) => {
        if (options.since !== undefined && options.until !== undefined && options.since > options.until) {
          throw new AosError('invalidArgument', `--since (${options.since}) is later than --until (${options.until})`);
        }
        if (options.follow && (options.previous || options.until !== undefined)) {
          throw new AosError('invalidArgument', '--follow goes on: leave --previous and --until out');
        }
        if (context.namesUnit) {
          refuseHere(options);
          const { since, until, wait } = options;
          return remoteLogs(context, { instance, since, until, waitMs: wait * 1000 });
        }
        if (instance === undefined) {
          throw new AosError('invalidArgument', 'no instance is named; "aosctl instances" lists them');
        }
        const { follow = false, previous = false, since, until, tail, timestamps } = options;
        const query = {
          ...{ instance, follow, previous },
          ...(since !== undefined && { since }),
          ...(until !== undefined && { till: until }),
          ...(tail !== undefined && { tail }),
        };
        const { output } = context;
        for await (const line of context.followDaemon<LogLine>('sm', '/logs', query)) {
          if (output.json) output.line(JSON.stringify(line));
          else output.line(`${timestamps ? `${line.at} ` : ''}${readable(line.text)}`);
        }
      }),
    );
}
