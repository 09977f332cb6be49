import type { Command } from 'commander';
import type { ErrorInfo } from '../../core/index.ts';
import type { InstanceReport, ItemReport, NodeReport, UnitReport } from '../../daemon/index.ts';
import { type CloudUnit, instancesOf, itemsOf, nodesOf } from '../cloud-views.ts';
import type { Context } from '../context.ts';
import { fleetNews } from '../moments.ts';
import {
  type Columns,
  formatTable,
  type Look,
  type Output,
  printResult,
  printRows,
  showState,
  sinceOf,
} from '../output.ts';
import { watchable } from '../watch.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

const errorText = (error: ErrorInfo | undefined): string | undefined => error && `${error.message} (${error.aosCode})`;

const NODES: Columns<NodeReport> = {
  node: (node) => node.nodeId,
  type: (node) => node.nodeType,
  state: (node) => node.state,
  connected: (node) => (node.connected ? 'yes' : 'no'),
  runtimes: (node) => node.runtimes.join(','),
  error: (node) => errorText(node.error),
};

const ITEMS: Columns<ItemReport> = {
  item: (item) => item.itemId,
  type: (item) => item.type,
  version: (item) => item.version,
  state: (item) => item.state,
  error: (item) => errorText(item.error),
};

const INSTANCES: Columns<InstanceReport> = {
  instance: ({ itemId, subjectId, instance }) => `${itemId}/${subjectId}/${instance}`,
  version: (instance) => instance.version,
  node: (instance) => instance.nodeId,
  state: (instance) => instance.state,
  error: (instance) => errorText(instance.error),
};

/** The tables below the head of a status. */
function details(report: Pick<UnitReport, 'nodes' | 'items' | 'instances'>, look: Look): string[] {
  // Below one another an empty table must say what there is none of.
  const table = <Row>(what: string, rows: readonly Row[], columns: Columns<Row>) => [
    '',
    ...(rows.length === 0 ? [`no ${what}`] : formatTable(rows, columns, look)),
  ];
  return [
    ...table('nodes', report.nodes, NODES),
    ...table('items', report.items, ITEMS),
    ...table('instances', report.instances, INSTANCES),
  ];
}

function printLocal(output: Output, report: UnitReport): void {
  const { cloud, unitConfig, update } = report;
  const configError = unitConfig.error ? `: ${errorText(unitConfig.error)}` : '';
  if (report.waitsFor !== undefined) {
    printResult(output, report, [`aos-cm waits: ${report.waitsFor}`]);
    return;
  }
  printResult(output, report, [
    `unit         ${report.systemId} (${report.unitModel})`,
    `cloud        ${showState(cloud.state, output)} since ${cloud.since}${cloud.url ? `, ${cloud.url}` : ''}`,
    ...(cloud.lastError ? [`             last error: ${cloud.lastError}`] : []),
    `update       ${update.state}${sinceOf(update.since)}`,
    ...(update.waitsFor === undefined ? [] : [`             waits: ${update.waitsFor}`]),
    `unit config  ${unitConfig.state}${unitConfig.version ? ` ${unitConfig.version}` : ''}${configError}`,
    ...details(report, output),
  ]);
}

function printRemote(output: Output, unit: CloudUnit): void {
  const config = unit.unitConfig?.[0];
  printResult(output, unit, [
    `unit         ${unit.systemId}`,
    `connection   ${showState(unit.online ? 'online' : 'offline', output)}${unit.lastSeen ? `, last seen ${unit.lastSeen}` : ''}`,
    `unit config  ${config ? `${config.state}${config.version ? ` ${config.version}` : ''}` : 'unknown'}`,
    `subjects     ${unit.subjects?.map((subject) => subject.codename ?? subject.id).join(', ') || '-'}`,
    ...details({ nodes: nodesOf(unit), items: itemsOf(unit), instances: instancesOf(unit) }, output),
  ]);
}

/** Asks the cloud about the unit that `--unit` names, and the local CM when it names none. */
function ask<T>(context: Context, local: (report: UnitReport) => T, remote: (unit: CloudUnit) => T): Promise<T> {
  return context.namesUnit
    ? context.cloud.get<CloudUnit>(`/api/units/${encodeURIComponent(context.unit)}`).then(remote)
    : context.askLocal<UnitReport>('/status').then(local);
}

export function statusCommands(program: Command, run: Run): void {
  const status = program
    .command('status')
    .description('unit, nodes, items and instances: of this machine, or of --unit through its cloud');
  watchable(status, run, (context) =>
    ask(
      context,
      (report) => printLocal(context.output, report),
      (unit) => printRemote(context.output, unit),
    ),
  );

  watchable(program.command('nodes').description('nodes of the unit'), run, async (context) =>
    printRows(context.output, await ask<readonly NodeReport[]>(context, (report) => report.nodes, nodesOf), NODES),
  );

  const items = program
    .command('items')
    .description('items of the unit; with --published those that the cloud can deploy')
    .option('--published', 'ask the cloud what was published');
  watchable(items, run, async (context) => {
    if (items.opts<{ readonly published?: boolean }>().published) return printPublished(context);
    const found = await ask<readonly ItemReport[]>(context, (report) => report.items, itemsOf);
    printRows(context.output, found, ITEMS);
  });

  watchable(program.command('instances').description('instances of the unit'), run, async (context) => {
    const instances = await ask<readonly InstanceReport[]>(context, (report) => report.instances, instancesOf);
    printRows(context.output, instances, INSTANCES);
  });

  watchable(
    program.command('units').description('units that the cloud knows'),
    run,
    async ({ cloud, output }) =>
      printRows(output, await cloud.get<CloudUnit[]>('/api/units'), {
        unit: (unit) => unit.systemId,
        online: (unit) => (unit.online ? 'yes' : 'no'),
        'last seen': (unit) => unit.lastSeen,
      }),
    fleetNews,
  );
}

interface PublishedItem {
  readonly id: string;
  readonly type: string;
  readonly version: string;
  readonly title?: string;
  readonly indexDigest: string;
}

async function printPublished({ cloud, output }: Context): Promise<void> {
  printRows(output, await cloud.get<PublishedItem[]>('/api/items'), {
    item: (item) => item.id,
    type: (item) => item.type,
    version: (item) => item.version,
    title: (item) => item.title,
    index: (item) => item.indexDigest,
  });
}
