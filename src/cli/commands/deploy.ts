import { type Command, InvalidArgumentError } from 'commander';
import { instancesOf } from '../cloud-views.ts';
import type { Context } from '../context.ts';
import { unitNews } from '../moments.ts';
import { collect, parseCount } from '../options.ts';
import { printResult, printRows } from '../output.ts';
import { type Deployment, deploymentPath, failuresBefore, waitUntil, waitUntilActive } from '../wait-for-item.ts';
import { watchable } from '../watch.ts';

interface DeployOptions {
  readonly version: string;
  readonly subject?: string;
  readonly instances?: number;
  readonly priority?: number;
  readonly label?: readonly string[];
  readonly wait?: number;
}

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

function parseInstances(text: string): number {
  const count = parseCount(text);
  if (count < 1) throw new InvalidArgumentError('Expected at least 1; "aosctl undeploy" removes an item.');
  return count;
}

export function deployCommands(program: Command, run: Run): void {
  program
    .command('deploy <item>')
    .description('run a published item on a unit, or change the version or number of its instances')
    .requiredOption('--version <version>', 'which version')
    .option('--subject <id>', 'subject that the instances belong to')
    .option('--instances <count>', 'how many', parseInstances)
    .option('--priority <number>', 'higher is placed first', parseCount)
    .option('--label <label>', 'node label that is needed; may be repeated', collect)
    .option('--wait <seconds>', 'wait until all instances are active', parseCount)
    .action((itemId: string, options: DeployOptions) =>
      run(async (context) => {
        const { cloud, output, unit } = context;
        const before = options.wait === undefined ? undefined : await failuresBefore(context, itemId);
        const deployment = await cloud.send<Deployment | undefined>('PUT', deploymentPath(unit, itemId), {
          version: options.version,
          ...(options.subject !== undefined && { subject: options.subject }),
          ...(options.instances !== undefined && { numInstances: options.instances }),
          ...(options.priority !== undefined && { priority: options.priority }),
          ...(options.label !== undefined && { labels: options.label }),
        });
        const count = options.instances ?? deployment?.numInstances ?? 1;
        if (options.wait !== undefined) {
          const wanted = { itemId, version: options.version, numInstances: count };
          await waitUntilActive(context, options.wait, wanted, before);
        }
        const state = options.wait === undefined ? 'wanted' : 'active';
        printResult(output, { unit, itemId, version: options.version, state }, [
          `${itemId} ${options.version} is ${state} on ${unit}`,
        ]);
      }),
    );

  program
    .command('undeploy <item>')
    .alias('remove')
    .description('remove an item from a unit')
    .option('--wait <seconds>', 'wait until no instance of it is left', parseCount)
    .action((itemId: string, options: { readonly wait?: number }) =>
      run(async (context) => {
        const { cloud, output, unit } = context;
        await cloud.send('DELETE', deploymentPath(unit, itemId));
        if (options.wait !== undefined) {
          await waitUntil(context, options.wait, `the end of ${itemId}`, (state) =>
            instancesOf(state).every((instance) => instance.itemId !== itemId || instance.state === 'inactive'),
          );
        }
        printResult(output, { unit, itemId, state: 'removed' }, [`${itemId} is removed from ${unit}`]);
      }),
    );

  watchable(
    program.command('deployments').description('what is wanted on a unit'),
    run,
    async ({ cloud, output, unit }) => {
      const rows = await cloud.get<Deployment[]>(`/api/units/${encodeURIComponent(unit)}/deployments`);
      printRows(output, rows, {
        item: (row) => row.itemId,
        version: (row) => row.version,
        subject: (row) => row.subject,
        instances: (row) => row.numInstances,
        priority: (row) => row.priority,
        labels: (row) => row.labels?.join(','),
      });
    },
    unitNews,
  );
}
