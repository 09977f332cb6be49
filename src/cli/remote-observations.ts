/** Alerts, usage and logs of a unit as its cloud has them (`--unit`). */
import { AosError } from '../core/index.ts';
import type { Context } from './context.ts';
import { moments, unitNews } from './moments.ts';
import { type Columns, formatTable, printRows } from './output.ts';
import { readable } from './readable.ts';

interface Name {
  readonly id?: string;
  readonly codename?: string;
}
interface Alert {
  readonly at: number;
  readonly tag: string;
  readonly data: Readonly<Record<string, unknown>> & { readonly node?: Name; readonly item?: Name };
}

const nameOf = (name: Name | undefined): string | undefined => name?.id ?? name?.codename;
const unitPath = ({ unit }: Context): string => `/api/units/${encodeURIComponent(unit)}`;

const ALERTS: Columns<Alert> = {
  at: ({ at }) => new Date(at).toISOString(),
  kind: ({ tag }) => tag,
  about: ({ data }) => nameOf(data.item) ?? nameOf(data.node),
  message: ({ data }) => readable(String(data.message ?? `${data.parameter} is at ${data.value}`)),
};

/** The newest alerts, the oldest of them first; watched, those that come as well, for programs one a line. */
export async function remoteAlerts(context: Context, isWatched: boolean): Promise<void> {
  const { cloud, output } = context;
  const look = async () => (await cloud.get<Alert[]>(`${unitPath(context)}/alerts`)).toReversed();
  if (!isWatched) return printRows(output, await look(), ALERTS);
  let seen: ReadonlySet<string> | undefined;
  for await (const _ of moments(context, unitNews(context, 'alerts'))) {
    const alerts = await look();
    const fresh = alerts.filter((alert) => !seen?.has(JSON.stringify(alert)));
    if (output.json) for (const alert of fresh) output.line(JSON.stringify(alert));
    else if (seen === undefined || fresh.length > 0)
      for (const line of formatTable(fresh, ALERTS, output)) output.line(line);
    seen = new Set(alerts.map((alert) => JSON.stringify(alert)));
  }
}

interface Measured {
  readonly series: string;
  readonly samples: readonly {
    readonly at: number;
    readonly cpu: number;
    readonly ram: number;
    readonly download: number;
    readonly upload: number;
  }[];
}

const mib = (bytes: number | undefined) => (bytes === undefined ? undefined : `${(bytes / 1024 ** 2).toFixed(1)} MiB`);

const USAGE: Columns<Measured> = {
  of: ({ series }) => series,
  dmips: ({ samples }) => (samples.length > 0 ? Math.round(samples.at(-1)!.cpu) : undefined),
  memory: ({ samples }) => mib(samples.at(-1)?.ram),
  'in today': ({ samples }) => mib(samples.at(-1)?.download),
  'out today': ({ samples }) => mib(samples.at(-1)?.upload),
  measured: ({ samples }) => (samples.length > 0 ? new Date(samples.at(-1)!.at).toISOString() : undefined),
};

/** The last measurements of the last hour; again with each new one, unless only once is asked for. */
export async function remoteTop(context: Context, isOnce: boolean): Promise<void> {
  const { cloud, output } = context;
  const show = async () => {
    const measured = await cloud.get<Measured[]>(`${unitPath(context)}/monitoring`);
    if (output.json)
      output.line(JSON.stringify(measured.map(({ series, samples }) => ({ series, ...samples.at(-1) }))));
    else for (const line of formatTable(measured, USAGE, output)) output.line(line);
  };
  if (isOnce) return show();
  for await (const _ of moments(context, unitNews(context, 'monitoring'))) await show();
}

interface NodeLog {
  readonly nodeId: string;
  readonly status: string;
  readonly error?: string;
  readonly complete: boolean;
  readonly text: string;
}

export interface RemoteLogOptions {
  /** `item[/subject[/index]]`; absent: the log of the system. */
  readonly instance?: string | undefined;
  readonly since?: string | undefined;
  readonly until?: string | undefined;
  readonly waitMs: number;
}

/** Asks the unit for a log and waits until all nodes have answered. Throws `timeout` with what has come until then. */
export async function remoteLogs(context: Context, options: RemoteLogOptions): Promise<void> {
  const { cloud, signal } = context;
  const [itemId, subjectId, index] = options.instance?.split('/') ?? [];
  if (index !== undefined && !/^\d+$/.test(index)) {
    throw new AosError('invalidArgument', `"${options.instance}" is no instance: expected item/subject/index`);
  }
  const ask = async (): Promise<string> => {
    const { correlationId } = await cloud.send<{ correlationId: string }>('POST', `${unitPath(context)}/logs`, {
      logType: itemId === undefined ? 'systemLog' : 'instanceLog',
      ...{ itemId, subjectId, from: options.since, till: options.until },
      ...(index !== undefined && { instance: Number(index) }),
    });
    return correlationId;
  };
  const end = AbortSignal.any([AbortSignal.timeout(options.waitMs), signal]);
  const { nodes = [] } = await cloud.get<{ nodes?: readonly unknown[] }>(unitPath(context));
  let asked: string | undefined;
  let logs: readonly NodeLog[] = [];
  for await (const _ of moments(context, unitNews(context), end)) {
    asked ??= await ask();
    logs = await cloud.get<NodeLog[]>(`${unitPath(context)}/logs/${asked}`);
    if (logs.length >= Math.max(1, nodes.length) && logs.every(({ complete }) => complete))
      return printLogs(context, logs);
  }
  printLogs(context, logs);
  if (!signal.aborted) throw new AosError('timeout', `not all nodes of ${context.unit} have sent their log in time`);
}

function printLogs({ output }: Context, logs: readonly NodeLog[]): void {
  if (output.json) {
    output.line(JSON.stringify(logs));
    return;
  }
  for (const { nodeId, status, error, text } of logs) {
    if (error !== undefined) output.note(`${nodeId}: ${status}: ${error}`);
    for (const line of text.split('\n')) if (line !== '') output.line(`${nodeId}  ${readable(line)}`);
  }
}
