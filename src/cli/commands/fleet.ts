/** Groups of units, subjects and their subscriptions, campaigns: what a cloud does with many units. */
import { type Command, Option } from 'commander';
import { AosError } from '../../core/index.ts';
import type { Context } from '../context.ts';
import { fleetNews } from '../moments.ts';
import { collect, parseCount } from '../options.ts';
import { type Columns, printResult, printRows } from '../output.ts';
import { watchable } from '../watch.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

const at = (strings: TemplateStringsArray, ...parts: readonly string[]): string =>
  strings.map((text, index) => text + (index < parts.length ? encodeURIComponent(parts[index]!) : '')).join('');

interface UnitSet {
  readonly name: string;
  readonly fleet: string;
  readonly verification: boolean;
  readonly units: readonly string[];
}

const UNIT_SETS: Columns<UnitSet> = {
  set: ({ name }) => name,
  units: ({ units }) => units.join(', '),
  verification: ({ verification }) => (verification ? 'yes' : 'no'),
  fleet: ({ fleet }) => fleet,
};

interface Subject {
  readonly id: string;
  readonly type: string;
  readonly priority: number;
  readonly units: readonly string[];
  readonly items: readonly { readonly itemId: string; readonly version: string; readonly numInstances: number }[];
}

const SUBJECTS: Columns<Subject> = {
  subject: ({ id }) => id,
  type: ({ type }) => type,
  priority: ({ priority }) => priority,
  units: ({ units }) => units.join(', '),
  items: ({ items }) =>
    items.map(({ itemId, version, numInstances }) => `${itemId} ${version} ×${numInstances}`).join(', '),
};

interface Campaign {
  readonly id: string;
  readonly itemId: string;
  readonly version: string;
  readonly stages: readonly string[];
  readonly stage: number;
  readonly state: string;
  readonly reason: string;
  readonly units?: readonly { readonly systemId: string; readonly state: string; readonly text: string }[];
}

const CAMPAIGNS: Columns<Campaign> = {
  campaign: ({ id }) => id,
  item: ({ itemId }) => itemId,
  version: ({ version }) => version,
  state: ({ state }) => state,
  stage: ({ stage, stages }) => `${stage + 1}/${stages.length} ${stages[stage]}`,
  why: ({ reason }) => reason,
};

export function fleetCommands(program: Command, run: Run): void {
  unitSetCommands(program, run);
  subjectCommands(program, run);
  campaignCommands(program, run);
}

function unitSetCommands(program: Command, run: Run): void {
  watchable(
    program.command('unit-sets').description('selections of units for campaigns and verification'),
    run,
    async ({ cloud, output }) => printRows(output, await cloud.get<UnitSet[]>('/api/unit-sets'), UNIT_SETS),
    fleetNews,
  );

  program
    .command('unit-set <name>')
    .description('make a unit set exactly these units')
    .option('--member <systemId>', 'a unit of it; may be repeated', collect)
    .option('--verification', 'its members take versions that nobody has verified yet')
    .option('--delete', 'delete the set; its units stay')
    .action((name: string, options: { member?: string[]; verification?: boolean; delete?: boolean }) =>
      run(async ({ cloud, output }) => {
        if (options.delete) {
          if (options.member || options.verification) {
            throw new AosError('invalidArgument', '--delete ends the set: leave --member and --verification out');
          }
          await cloud.send('DELETE', at`/api/unit-sets/${name}`);
          return printResult(output, { name, state: 'deleted' }, [`${name} is deleted`]);
        }
        const { member: units = [], verification = false } = options;
        const set = await cloud.send<UnitSet>('PUT', at`/api/unit-sets/${name}`, { units, verification });
        printResult(output, set, [`${name} has ${set.units.length} unit(s): ${set.units.join(', ')}`]);
      }),
    );
}

function subjectCommands(program: Command, run: Run): void {
  watchable(
    program.command('subjects').description('subjects, their units, and what they have subscribed to'),
    run,
    async ({ cloud, output }) => printRows(output, await cloud.get<Subject[]>('/api/subjects'), SUBJECTS),
    fleetNews,
  );

  program
    .command('subject <id>')
    .description('make or change a subject')
    .addOption(new Option('--type <type>', 'of a new one').choices(['group', 'user']))
    .option('--title <text>', 'its name for people')
    .option('--priority <number>', 'of its instances; higher is placed first', parseCount)
    .option('--reported', 'its instances run only while the unit itself reports it')
    .option('--delete', 'delete it; what only it has subscribed to stops')
    .action((id: string, { delete: isEnd, ...change }: { delete?: boolean }) =>
      run(async ({ cloud, output }) => {
        if (isEnd) {
          if (Object.keys(change).length > 0) {
            throw new AosError('invalidArgument', '--delete ends the subject: leave the other options out');
          }
          await cloud.send('DELETE', at`/api/subjects/${id}`);
          return printResult(output, { id, state: 'deleted' }, [`${id} is deleted`]);
        }
        const subject = await cloud.send<Subject>('PUT', at`/api/subjects/${id}`, change);
        printResult(output, subject, [`${id} is a ${subject.type} with priority ${subject.priority}`]);
      }),
    );

  program
    .command('assign <subject>')
    .description('assign a subject to a unit (--unit); a user leaves the unit where it was')
    .action((id: string) =>
      run(async ({ cloud, output, unit }) => {
        const subject = await cloud.send<Subject>('PUT', at`/api/subjects/${id}/units/${unit}`);
        printResult(output, subject, [`${id} is assigned to ${unit}`]);
      }),
    );

  program
    .command('withdraw <subject>')
    .description('withdraw a subject from a unit (--unit)')
    .action((id: string) =>
      run(async ({ cloud, output, unit }) => {
        await cloud.send('DELETE', at`/api/subjects/${id}/units/${unit}`);
        printResult(output, { subject: id, unit, state: 'withdrawn' }, [`${id} has left ${unit}`]);
      }),
    );

  program
    .command('subscribe <subject> <item>')
    .description('run an item on all units of a subject, or change its version or number')
    .option('--version <version>', 'which version (default: the newest that is valid)')
    .option('--instances <count>', 'how many on each unit', parseCount)
    .option('--priority <number>', 'higher is placed first (default: that of the subject)', parseCount)
    .option('--label <label>', 'node label that is needed; may be repeated', collect)
    .action(
      (
        id: string,
        itemId: string,
        options: { version?: string; instances?: number; priority?: number; label?: string[] },
      ) =>
        run(async ({ cloud, output }) => {
          const { version, instances, priority, label } = options;
          const subscription = await cloud.send<{ version: string; numInstances: number }>(
            ...(['PUT', at`/api/subjects/${id}/items/${itemId}`] as const),
            {
              ...(version !== undefined && { version }),
              ...(instances !== undefined && { numInstances: instances }),
              ...(priority !== undefined && { priority }),
              ...(label !== undefined && { labels: label }),
            },
          );
          const { version: wanted, numInstances } = subscription;
          printResult(output, subscription, [`${id} has subscribed to ${numInstances} of ${itemId} ${wanted}`]);
        }),
    );

  program
    .command('unsubscribe <subject> <item>')
    .description('end a subscription')
    .action((id: string, itemId: string) =>
      run(async ({ cloud, output }) => {
        await cloud.send('DELETE', at`/api/subjects/${id}/items/${itemId}`);
        printResult(output, { subject: id, itemId, state: 'ended' }, [
          `${id} has not subscribed to ${itemId} any more`,
        ]);
      }),
    );
}

function printCampaign({ output }: Context, campaign: Campaign): void {
  const { id, itemId, version, state, stage, stages, reason, units = [] } = campaign;
  printResult(output, campaign, [
    `campaign ${id}: ${itemId} ${version}, ${state}, stage ${stage + 1} of ${stages.length} (${stages[stage]}): ${reason}`,
    ...units.map((unit) => `  ${unit.systemId}  ${unit.state}  ${unit.text}`),
  ]);
}

function campaignCommands(program: Command, run: Run): void {
  watchable(
    program.command('campaigns').description('campaigns, the newest first'),
    run,
    async ({ cloud, output }) => printRows(output, await cloud.get<Campaign[]>('/api/campaigns'), CAMPAIGNS),
    fleetNews,
  );

  const campaign = program.command('campaign').description('bring a version to one unit set after the other');
  campaign
    .command('begin <item>')
    .requiredOption('--version <version>', 'which version')
    .requiredOption('--stage <unitSet>', 'a unit set; repeat it in the order of the stages', collect)
    .option('--manual', 'a person begins each stage (aosctl campaign advance)')
    .description('begin with the first stage')
    .action((itemId: string, options: { version: string; stage: string[]; manual?: boolean }) =>
      run(async (context) => {
        const { version, stage: stages, manual = false } = options;
        const body = { itemId, version, stages, automatic: !manual };
        printCampaign(context, await context.cloud.send<Campaign>('POST', '/api/campaigns', body));
      }),
    );
  campaign
    .command('show <id>')
    .description('where it stands')
    .action((id: string) =>
      run(async (context) => printCampaign(context, await context.cloud.get<Campaign>(at`/api/campaigns/${id}`))),
    );
  campaign
    .command('advance <id>')
    .description('begin the next stage, whatever has become of this one')
    .action((id: string) =>
      run(async (context) =>
        printCampaign(context, await context.cloud.send<Campaign>('POST', at`/api/campaigns/${id}/advance`)),
      ),
    );
  campaign
    .command('stop <id>')
    .option('--reason <text>', 'why')
    .description('go no further; units that have the version keep it')
    .action((id: string, options: { reason?: string }) =>
      run(async (context) =>
        printCampaign(context, await context.cloud.send<Campaign>('POST', at`/api/campaigns/${id}/stop`, options)),
      ),
    );
}
