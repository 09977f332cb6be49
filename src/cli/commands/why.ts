import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { AosError, asAosError, isAosError, parseJson } from '../../core/index.ts';
import type { PlannedInstance, PlanReport, WhyReport } from '../../daemon/index.ts';
import type { Context } from '../context.ts';
import { nameOf, printResult } from '../output.ts';
import { watchable } from '../watch.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

function whyLines({ kind, id, now, reasons }: WhyReport): string[] {
  const lines = reasons.map(({ at, what, because }) => {
    const time = at === undefined ? '' : `${at}  `;
    return `  ${time}${what}${because ? `: ${because}` : ''}`;
  });
  return [`${nameOf({ kind, id })}: ${now}`, ...lines];
}

const WORDS: Readonly<Record<PlannedInstance['do'], string>> = {
  keep: 'stays',
  start: 'starts',
  update: 'changes its version',
  move: 'moves',
  stop: 'stops',
  later: 'waits for its image',
  fail: 'cannot run',
};

function instanceLines({ name, version, do: action, nodeId, from, because, notChosen }: PlannedInstance): string[] {
  const place = nodeId === undefined ? '' : from === undefined ? ` on ${nodeId}` : ` from ${from} to ${nodeId}`;
  return [
    `  ${name} ${version} ${WORDS[action]}${place}: ${because}`,
    ...notChosen.map((one) => `      not ${one.nodeId}${one.runtimeId ? ` ${one.runtimeId}` : ''}: ${one.because}`),
  ];
}

function planLines({ decision, because, download, remove, refused, instances }: PlanReport): string[] {
  const list = (title: string, items: PlanReport['download']) =>
    items.length === 0 ? [] : [title, ...items.map(({ itemId, version }) => `  ${itemId} ${version}`)];
  return [
    decision === 'start' ? `an update would start: ${because}` : `no update: ${because}`,
    ...(refused.length === 0 ? [] : ['refused', ...refused.map((text) => `  ${text}`)]),
    ...list('downloaded', download),
    ...list('removed', remove),
    ...(instances.length === 0 ? [] : ['instances', ...instances.flatMap(instanceLines)]),
  ];
}

/** What would come of a file: a bundle, or a desired status as JSON. */
async function planOf(file: string | undefined, context: Context): Promise<PlanReport> {
  if (file === undefined) return context.askLocal('/plan', {});
  const { readBundleHead } = await import('../bundle/read-head.ts');
  const head = await readBundleHead(file);
  if (head) return context.askLocal('/bundle/plan', head);
  try {
    return await context.askLocal('/plan', parseJson(await readFile(file, 'utf8'), file));
  } catch (error) {
    if (isAosError(error)) throw error;
    throw new AosError('invalidArgument', `cannot read the desired status ${file}: ${asAosError(error).message}`, {
      cause: error,
    });
  }
}

export function whyCommands(program: Command, run: Run): void {
  const why = program
    .command('why <name>')
    .description('why it is as it is: an instance (item/subject/index), an item, a node, or "update"');
  watchable(why, run, async (context, name) => {
    context.mustBeHere();
    const report = await context.askLocal<WhyReport>('/why', { name });
    printResult(context.output, report, whyLines(report));
  });

  program
    .command('plan [desired]')
    .description(
      'what would come of a desired status (JSON file) or a bundle; nothing is changed. Without a file: of the present one',
    )
    .action((file: string | undefined) =>
      run(async (context) => {
        context.mustBeHere();
        const report = await planOf(file, context);
        printResult(context.output, report, planLines(report));
      }),
    );
}
