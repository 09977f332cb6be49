import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { parseCount } from '../options.ts';
import { printResult } from '../output.ts';
import { type Deployment, deploymentPath, waitUntilActive } from '../wait-for-item.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

interface WaitOption {
  readonly wait?: number;
}

/** Waits when it is asked for, and says what is wanted now. */
async function finish(context: Context, deployment: Deployment, { wait }: WaitOption): Promise<void> {
  const { itemId, version, numInstances } = deployment;
  const { output, unit } = context;
  if (wait !== undefined) await waitUntilActive(context, wait, deployment);
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
      run(async (context) => {
        const { cloud, unit } = context;
        const body = { numInstances: options.instances };
        await finish(context, await cloud.send<Deployment>('PUT', deploymentPath(unit, itemId), body), options);
      }),
    );

  program
    .command('rollback <item>')
    .description('go back to the version that was deployed before')
    .option('--wait <seconds>', 'wait until all instances are active', parseCount)
    .action((itemId: string, options: WaitOption) =>
      run(async (context) => {
        const { cloud, unit } = context;
        await finish(
          context,
          await cloud.send<Deployment>('POST', `${deploymentPath(unit, itemId)}/rollback`),
          options,
        );
      }),
    );
}
