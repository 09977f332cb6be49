import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { parseCount } from '../options.ts';
import { printResult } from '../output.ts';
import { type Deployment, deploymentPath, failuresBefore, waitUntilActive } from '../wait-for-item.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

interface WaitOption {
  readonly wait?: number;
}

/** Changes a deployment, waits when it is asked for, and says what is wanted now. */
async function adjust(
  context: Context,
  itemId: string,
  { wait }: WaitOption,
  change: () => Promise<Deployment>,
): Promise<void> {
  const { output, unit } = context;
  const before = wait === undefined ? undefined : await failuresBefore(context, itemId);
  const deployment = await change();
  const { version, numInstances } = deployment;
  if (wait !== undefined) await waitUntilActive(context, wait, deployment, before);
  const state = wait === undefined ? 'wanted' : 'active';
  printResult(output, { unit, itemId, version, numInstances, state }, [
    `${numInstances} instance(s) of ${itemId} ${version}: ${state} on ${unit}`,
  ]);
}

export function adjustCommands(program: Command, run: Run): void {
  program
    .command('scale <item>')
    .description('change the number of instances of a deployed item')
    .requiredOption('--instances <count>', 'how many', parseCount)
    .option('--wait <seconds>', 'wait until all instances are active', parseCount)
    .action((itemId: string, options: WaitOption & { readonly instances: number }) =>
      run((context) =>
        adjust(context, itemId, options, () =>
          context.cloud.send('PUT', deploymentPath(context.unit, itemId), { numInstances: options.instances }),
        ),
      ),
    );

  program
    .command('rollback <item>')
    .description('go back to the version that was deployed before')
    .option('--wait <seconds>', 'wait until all instances are active', parseCount)
    .action((itemId: string, options: WaitOption) =>
      run((context) =>
        adjust(context, itemId, options, () =>
          context.cloud.send('POST', `${deploymentPath(context.unit, itemId)}/rollback`),
        ),
      ),
    );
}
