import type { Command } from 'commander';
import { CONFIG_DIR_HELP, type Context } from '../context.ts';
import { diagnose } from '../doctor/diagnose.ts';
import type { Finding } from '../doctor/finding.ts';
import { EXIT } from '../exit-codes.ts';
import type { Look } from '../output.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

const MARKS = { ok: '  ok', warning: 'warn', fault: 'FAIL' } as const;

export function doctorCommand(program: Command, run: Run): void {
  program
    .command('doctor')
    .description(
      'looks for what keeps this node from working: kernel, tools, space, clock, certificates, daemons, cloud',
    )
    .option('--all', 'also what is in order')
    .option('--config-dir <directory>', CONFIG_DIR_HELP)
    .addHelpText('after', '\nThe exit code is 1 when something is broken; warnings do not count.')
    .action((options: { readonly all?: boolean; readonly configDir?: string }) =>
      run(async (context) => {
        context.mustBeHere();
        const { gatherFacts } = await import('../doctor/gather-facts.ts');
        const findings = diagnose(await gatherFacts(context, options.configDir ?? context.configDir));
        if (context.output.json) context.output.line(JSON.stringify(findings, null, 2));
        else for (const line of linesOf(findings, options.all ?? false, context.output)) context.output.line(line);
        if (findings.some(({ level }) => level === 'fault')) context.exitCode = EXIT.failed;
      }),
    );
}

/** Faults first, each with its cure on a line of its own. */
function linesOf(findings: readonly Finding[], all: boolean, { style }: Look): string[] {
  const marks = { ok: style.good(MARKS.ok), warning: style.warning(MARKS.warning), fault: style.bad(MARKS.fault) };
  const count = (level: Finding['level']) => findings.filter((finding) => finding.level === level).length;
  const shown = (['fault', 'warning', ...(all ? (['ok'] as const) : [])] as const).flatMap((level) =>
    findings.filter((finding) => finding.level === level),
  );
  return [
    ...shown.flatMap(({ check, level, found, cure }) => [
      `${marks[level]}  ${check}: ${found}`,
      ...(cure === undefined ? [] : [`      ${cure}`]),
    ]),
    ...(shown.length === 0 ? [] : ['']),
    `${count('fault')} broken, ${count('warning')} to look at, ${count('ok')} in order`,
  ];
}
