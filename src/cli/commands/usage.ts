/** What a node and its instances use: `aosctl top`, `aosctl networks`, `aosctl certs`. All of this node, without a cloud. */
import { type Command, Option } from 'commander';
import type { NetworkReport, UsageReport } from '../../daemon/index.ts';
import type { Context } from '../context.ts';
import { moments } from '../moments.ts';
import { type Columns, formatTable, printRows } from '../output.ts';
import { remoteTop } from '../remote-observations.ts';
import { type InstanceRate, usageRates } from '../usage-rates.ts';
import { watchable } from '../watch.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

const INSTANCES: Columns<InstanceRate> = {
  instance: ({ itemId, subjectId, instance }) => `${itemId}/${subjectId}/${instance}`,
  version: ({ version }) => version,
  'cpu %': ({ cpuPercent }) => cpuPercent.toFixed(1),
  dmips: ({ dmips }) => Math.round(dmips),
  memory: ({ ramBytes }) => mib(ramBytes),
  storage: ({ storageBytes }) => (storageBytes === undefined ? undefined : mib(storageBytes)),
  in: ({ downloadBytes }) => (downloadBytes === undefined ? undefined : mib(downloadBytes)),
  out: ({ uploadBytes }) => (uploadBytes === undefined ? undefined : mib(uploadBytes)),
  restarts: ({ restarts }) => restarts,
};

const NETWORKS: Columns<NetworkReport> = {
  instance: ({ itemId, subjectId, instance }) => `${itemId}/${subjectId}/${instance}`,
  network: ({ networkId }) => networkId,
  node: ({ nodeId }) => nodeId,
  address: ({ ip }) => ip,
  ports: ({ exposedPorts }) => exposedPorts.join(','),
  names: ({ hosts }) => hosts.join(','),
};

interface CertificateStatus {
  readonly type: string;
  readonly serial: string;
  readonly notAfter: string;
  readonly current: boolean;
}

const CERTIFICATES: Columns<CertificateStatus> = {
  type: ({ type }) => type,
  'valid until': ({ notAfter }) => notAfter,
  'in use': ({ current }) => (current ? 'yes' : 'no'),
  serial: ({ serial }) => serial,
};

const mib = (bytes: number): string => `${(bytes / 1024 ** 2).toFixed(1)} MiB`;

export function usageCommands(program: Command, run: Run): void {
  program
    .command('top')
    .description('what this node (or with --unit a unit) and its instances use, again and again; ends with Ctrl-C')
    .option('--once', 'only once')
    // What others need it for, it does anyway; nobody has to know which is which.
    .addOption(new Option('-w, --watch').conflicts('once').hideHelp())
    .action((options: { readonly once?: boolean }) =>
      run((context) => (context.namesUnit ? remoteTop : top)(context, options.once ?? false)),
    );
  watchable(
    program.command('networks').description('addresses, ports and names of the instances of this unit'),
    run,
    async (context) => {
      context.mustBeHere();
      printRows(context.output, await context.askLocal<NetworkReport[]>('/networks'), NETWORKS);
    },
  );
  watchable(
    program.command('certs').description('certificates of this node, and how long they last'),
    run,
    async (context) => {
      context.mustBeHere();
      const { certificates } = await context.askDaemon<{ certificates: CertificateStatus[] }>('iam', '/status');
      printRows(context.output, certificates, CERTIFICATES);
    },
  );
}

/** Two looks make a rate. */
async function top(context: Context, isOnce: boolean): Promise<void> {
  const look = () => context.askDaemon<UsageReport>('sm', '/usage');
  let before: UsageReport | undefined;
  for await (const _ of moments(context, undefined)) {
    const now = await look();
    if (before) print(context, before, now);
    if (before && isOnce) return;
    before = now;
  }
}

function print({ output }: Context, before: UsageReport, now: UsageReport): void {
  const { node, instances } = usageRates(before, now);
  if (output.json) {
    output.line(JSON.stringify({ at: now.at, node, instances }));
    return;
  }
  const partitions = now.node.partitions.map(
    ({ name, usedBytes, totalBytes }) => `${name} ${part(usedBytes, totalBytes)}`,
  );
  const lines = [
    `node ${now.node.nodeId}  ${now.at}`,
    `cpu ${node.cpuPercent.toFixed(1)} % (${Math.round(node.dmips)} of ${now.node.maxDmips} DMIPS)  ` +
      `memory ${mib(now.node.ramBytes)} (${part(now.node.ramBytes, now.node.totalRamBytes)})`,
    ...(partitions.length > 0 ? [`partitions ${partitions.join(', ')}`] : []),
    '',
    ...formatTable(instances, INSTANCES, output),
  ];
  output.page(lines.join('\n'));
}

const part = (used: number, total: number): string => (total > 0 ? `${((100 * used) / total).toFixed(0)} %` : '-');
