import type { Command } from 'commander';
import { systemClock } from '../../core/index.ts';
import type { Context } from '../context.ts';
import { parseCount, withDefaultPort } from '../options.ts';
import { printResult } from '../output.ts';

/** Port of the main IAM in provisioning mode. */
const PROVISIONING_PORT = 8089;

interface Options {
  readonly nodes: number;
  readonly wait: number;
  readonly retryCount: number;
  readonly retryDelay: number;
  readonly checkSoftware?: boolean;
}

export function provisionCommand(
  program: Command,
  run: (action: (context: Context) => Promise<void>) => Promise<void>,
): void {
  program
    .command('provision <address>')
    .description('make a blank unit a member of the cloud: keys in its tokens, certificates of the cloud')
    .option('--nodes <count>', 'nodes that the unit has', parseCount, 1)
    .option('--wait <seconds>', 'how long to wait for the unit to answer', parseCount, 0)
    .option('--retry-count <count>', 'repetitions of a cloud call that failed', parseCount, 5)
    .option('--retry-delay <seconds>', 'pause between them', parseCount, 5)
    .option('--check-software', 'ask the cloud first whether it takes this version')
    .addHelpText(
      'after',
      `\nThe address is that of the main node's IAM in provisioning mode: host or host:port (${PROVISIONING_PORT}).`,
    )
    .action((address: string, options: Options) =>
      run(async (context) => {
        const { cloud, output, signal } = context;
        // They bring the contracts of IAM along, which no other command needs.
        const { IamTarget } = await import('../provision/iam-target.ts');
        const { checkSoftware, provisionUnit } = await import('../provision/provision-unit.ts');
        if (options.checkSoftware) await checkSoftware(cloud);
        const target = new IamTarget(withDefaultPort(address, PROVISIONING_PORT));
        try {
          const result = await provisionUnit(target, cloud, {
            nodes: options.nodes,
            waitMs: options.wait * 1000,
            retryCount: options.retryCount,
            retryDelayMs: options.retryDelay * 1000,
            clock: systemClock,
            signal,
            progress: (text) => output.note(text),
          });
          printResult(output, result, [
            `${result.systemId} is provisioned with ${result.nodes.length} node(s): ${result.nodes.join(', ')}`,
            `it is unit ${result.unitId} of ${result.url}`,
          ]);
        } finally {
          target.close();
        }
      }),
    );
}
