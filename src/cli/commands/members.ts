import type { Command } from 'commander';
import { AosError } from '../../core/index.ts';
import type { CloudUnit } from '../cloud-views.ts';
import type { Context } from '../context.ts';
import { followUnit } from '../follow-unit.ts';
import { parseCount } from '../options.ts';
import { printResult } from '../output.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

export function memberCommands(program: Command, run: Run): void {
  program
    .command('deprovision')
    .description(
      'take a whole unit (--unit) out of the cloud: its secondary nodes lose their keys, all certificates end',
    )
    .option('--wait <seconds>', 'how long to wait for its secondary nodes', parseCount, 120)
    .option('--force', 'go on when nodes do not answer, or the unit is offline')
    .action((options: { readonly wait: number; readonly force?: boolean }) =>
      run(async (context) => {
        const { cloud, output, unit } = context;
        const nodes = await deprovisionNodes(context, options.wait * 1000, options.force ?? false);
        await cloud.send('POST', `/api/units/${encodeURIComponent(unit)}/reset`);
        printResult(output, { unit, nodes, state: 'new' }, [
          `${unit} is no member any more; its main node keeps keys that open nothing. Before it is provisioned again, on that node: /usr/lib/aoscore/hooks/deprovision async`,
        ]);
      }),
    );

  program
    .command('reset <unit>')
    .description('revoke the certificates of a unit and let it be provisioned again; its deployments stay')
    .action((unit: string) =>
      run(async ({ cloud, output }) => {
        await cloud.send('POST', `/api/units/${encodeURIComponent(unit)}/reset`);
        printResult(output, { unit, state: 'new' }, [`${unit} is reset; "aosctl provision" makes it a member again`]);
      }),
    );

  program
    .command('forget <unit>')
    .description('revoke the certificates of a unit and delete everything that the cloud knows of it')
    .action((unit: string) =>
      run(async ({ cloud, output }) => {
        await cloud.send('DELETE', `/api/units/${encodeURIComponent(unit)}`);
        printResult(output, { unit, state: 'deleted' }, [`${unit} is no member of ${cloud.url} any more`]);
      }),
    );
}

const isMain = ({ attrs = {} }: { readonly attrs?: Readonly<Record<string, string>> }): boolean =>
  Object.keys(attrs).some((name) => name.toLowerCase() === 'mainnode');

/** Secondary nodes that have keys. */
function nodesToClear(unit: CloudUnit): string[] {
  return (unit.nodes ?? [])
    .filter((node) => !isMain(node) && node.state !== 'unprovisioned')
    .map(({ identity }) => identity.codename ?? '');
}

/** Deprovisions all secondary nodes; answers those that have lost their keys. Throws `wrongState` or `timeout`. */
async function deprovisionNodes(context: Context, waitMs: number, isForced: boolean): Promise<string[]> {
  const { cloud, output, unit } = context;
  const path = `/api/units/${encodeURIComponent(unit)}`;
  const before = await cloud.get<CloudUnit>(path);
  const nodes = nodesToClear(before);
  if (nodes.length === 0) return [];
  if (!before.online) {
    if (isForced) return [];
    throw new AosError(
      'wrongState',
      `${unit} is offline, its nodes would keep their keys; --force goes on all the same`,
    );
  }
  for (const node of nodes) {
    output.note(`deprovisioning ${node}`);
    await cloud.send('POST', `${path}/nodes/${encodeURIComponent(node)}/deprovision`);
  }
  const isDone = await followUnit(context, waitMs, (now) => nodesToClear(now).length === 0);
  if (isDone) return nodes;
  const left = nodesToClear(await cloud.get<CloudUnit>(path));
  if (isForced) return nodes.filter((node) => !left.includes(node));
  throw new AosError('timeout', `${left.join(', ')} did not lose their keys in time; --force goes on all the same`);
}
