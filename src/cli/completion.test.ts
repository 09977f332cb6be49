import { execFileSync } from 'node:child_process';
import { Command, Option } from 'commander';
import { expect, test } from 'vitest';
import { completionScript, manPage } from './completion.ts';

function program(): Command {
  const tool = new Command('tool')
    .description("does what it's told")
    .option('--json', 'for programs')
    .option('--unit <id>', 'which');
  tool.command('status').description('how it is').option('-w, --watch', 'again');
  const config = tool.command('config').description('files');
  config
    .command('check <file...>')
    .description('judges files')
    .addOption(new Option('--kind <kind>', 'what they are').choices(['cm', 'sm']));
  tool.command('remove <item>').alias('undeploy').description('takes it away');
  return tool;
}

/** What bash offers for the last of these words. */
function offered(...words: string[]): string[] {
  const script = `${completionScript(program(), 'bash')}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}
_tool; printf '%s\n' "\${COMPREPLY[@]}"`;
  return execFileSync('bash', ['-c', script], { encoding: 'utf8' }).split('\n').filter(Boolean).sort();
}

test('[P-15] bash offers commands, their commands, their options and the choices of an option', () => {
  expect(offered('tool', '')).toEqual(['--help', '--json', '--unit', 'config', 'remove', 'status', 'undeploy']);
  expect(offered('tool', 'st')).toEqual(['status']);
  expect(offered('tool', 'status', '--')).toEqual(['--help', '--json', '--unit', '--watch']);
  expect(offered('tool', '--unit', 'status', 'config', 'c')).toEqual(['check']);
  expect(offered('tool', 'config', 'check', '--kind', '')).toEqual(['cm', 'sm']);
  expect(offered('tool', 'config', 'check', '--kind', 's')).toEqual(['sm']);
  expect(offered('tool', 'config', 'check', 'x')).toEqual([]);
});

test('[P-15] zsh uses the same, fish has a line for each command and option', () => {
  expect(completionScript(program(), 'zsh')).toMatch(/^#compdef tool\n.*bashcompinit/);
  const lines = completionScript(program(), 'fish').split('\n');
  expect(lines).toContain("complete -c tool -n '__fish_use_subcommand' -a status -d 'how it is'");
  expect(lines).toContain("complete -c tool -n '__fish_seen_subcommand_from status' -l watch -s w -d 'again'");
  expect(lines.find((line) => line.includes('-l kind'))).toMatch(/-x -a 'cm sm'/);
});

test('[P-15] the manual has every command with its options, and nothing that roff would take for a request', () => {
  const page = manPage(program(), '1.2.3', { 0: 'done', 1: "'failed'" });
  expect(page).toMatch(/^\.TH TOOL 1 "" "aoscore 1\.2\.3"/);
  expect(page).toContain('.SS config check <file...>\njudges files.\n.TP\n\\fB\\-\\-kind <kind>\\fR\nwhat they are');
  expect(page).toContain(".TP\n\\fB1\\fR\n\\&'failed'");
  expect(page).not.toContain('.SS config\n');
  const both = new Command('tool').addCommand(
    new Command('update').action(() => undefined).addCommand(new Command('start')),
  );
  expect(manPage(both, '1.2.3', {})).toMatch(/^\.SS update( \S+)?$[\s\S]*^\.SS update start$/m);
});
