import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { printResult } from '../output.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

const nodePath = (unit: string, nodeId: string, what: string) =>
  `/api/units/${encodeURIComponent(unit)}/nodes/${encodeURIComponent(nodeId)}/${what}`;

export function nodeCommands(program: Command, run: Run): void {
  const node = program.command('node').description('take nodes into a unit and out of it');

  node
    .command('provision <node>')
    .description('make a blank node, which a unit has found, a member of it; the unit is named with --unit')
    .action((nodeId: string) =>
      run(async ({ cloud, unit, output }) => {
        await cloud.send('POST', nodePath(unit, nodeId, 'provision'), {});
        printResult(output, { unit, nodeId, state: 'asked' }, [
          `${unit} is asked to provision ${nodeId}; "aosctl nodes --unit ${unit}" shows when it is`,
        ]);
      }),
    );

  node
    .command('deprovision <node>')
    .description('make a node of a unit blank, and revoke its certificates; not the main node')
    .action((nodeId: string) =>
      run(async ({ cloud, unit, output }) => {
        await cloud.send('POST', nodePath(unit, nodeId, 'deprovision'), {});
        printResult(output, { unit, nodeId, state: 'asked' }, [
          `${unit} is asked to deprovision ${nodeId}; "aosctl nodes --unit ${unit}" shows when it is`,
        ]);
      }),
    );

  node
    .command('forget <node>')
    .description('on the main node: take a node that never comes back from the list of nodes')
    .action((nodeId: string) =>
      run(async (context) => {
        context.mustBeHere();
        const { askIam, output } = context;
        await askIam('/forget-node', { nodeId });
        printResult(output, { nodeId, state: 'forgotten' }, [
          `${nodeId} is forgotten; it is listed again if it comes back`,
        ]);
      }),
    );

  program
    .command('renew [types...]')
    .description('have a unit make new keys and certificates: of these types, or all; the unit is named with --unit')
    .action((types: string[]) =>
      run(async ({ cloud, unit, output }) => {
        const { certificates } = await cloud.send<{ certificates: number }>(
          'POST',
          `/api/units/${encodeURIComponent(unit)}/certificates/renew`,
          types.length === 0 ? {} : { types },
        );
        printResult(output, { unit, certificates }, [`${unit} is asked to renew ${certificates} certificate(s)`]);
      }),
    );
}
