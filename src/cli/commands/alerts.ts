import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { moments } from '../moments.ts';
import { formatTable } from '../output.ts';
import { readable } from '../readable.ts';
import { remoteAlerts } from '../remote-observations.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

interface Alert {
  readonly seq: number;
  readonly at: string;
  readonly kind: string;
  readonly about?: string;
  readonly message: string;
}

const COLUMNS = {
  at: (alert: Alert) => alert.at,
  kind: (alert: Alert) => alert.kind,
  about: (alert: Alert) => alert.about,
  message: (alert: Alert) => readable(alert.message),
};

export function alertsCommand(program: Command, run: Run): void {
  program
    .command('alerts')
    .description('the newest alerts of this node, or with --unit of a unit as its cloud has them')
    .option('-w, --watch', 'go on with those to come; ends with Ctrl-C')
    .action((options: { readonly watch?: boolean }) =>
      run(async (context) => {
        if (context.namesUnit) return remoteAlerts(context, options.watch ?? false);
        let after: number | undefined;
        for await (const _ of moments(context, undefined)) {
          const alerts = await context.askDaemon<Alert[]>('sm', '/alerts', after === undefined ? undefined : { after });
          if (after === undefined || alerts.length > 0) after = print(context, alerts, after ?? 0);
          if (!options.watch) return;
        }
      }),
    );
}

/** Answers the number of the newest one. */
function print({ output }: Context, alerts: readonly Alert[], after: number): number {
  if (output.json) for (const alert of alerts) output.line(JSON.stringify(alert));
  else for (const line of formatTable(alerts, COLUMNS, output)) output.line(line);
  return alerts.at(-1)?.seq ?? after;
}
