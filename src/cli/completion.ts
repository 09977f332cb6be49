/** Completion for shells and the man page, from the definitions that the help is made of (spec/beyond.md P-15). Pure. */
import type { Command, Option } from 'commander';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** A command with the words that lead to it: `config check`. */
interface Described {
  readonly words: readonly string[];
  readonly command: Command;
}

/** All commands, each after the one it belongs to; the program itself is first. */
function allOf(command: Command, words: readonly string[] = []): Described[] {
  const below = command.commands.filter((one) => !(one as unknown as { _hidden: boolean })._hidden);
  return [{ words, command }, ...below.flatMap((one) => allOf(one, [...words, one.name()]))];
}

/** Whether a command does something itself, and not only leads to others. */
const doesSomething = (command: Command): boolean =>
  command.commands.length === 0 || (command as unknown as { readonly _actionHandler: unknown })._actionHandler !== null;

const flagsOf = ({ options }: Command): string[] =>
  [...options.flatMap(({ long, short }) => [long, short]), '--help'].filter(
    (flag) => flag !== undefined && flag !== null,
  );

const namesBelow = ({ commands }: Command): string[] => commands.flatMap((one) => [one.name(), ...one.aliases()]);

export function completionScript(program: Command, shell: Shell): string {
  if (shell === 'fish') return fish(program);
  const script = bash(program);
  if (shell === 'bash') return script;
  const name = program.name();
  return `#compdef ${name}
autoload -U +X bashcompinit && bashcompinit
${script}# The first Tab loads this file as the function itself, and wants an answer as well.
if [ "$funcstack[1]" = _${name} ]; then _bash_complete -o default -F _${name}; fi
`;
}

/** Words of a shell in single quotes. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** After an option that takes a file or a value, the shell completes files, as it does for arguments. */
function bash(program: Command): string {
  const name = program.name();
  const all = allOf(program);
  const deeper = all.filter(({ words }) => words.length > 0).map(({ words }) => quoted(`/${words.join('/')}`));
  const valued = program.options.filter(({ required }) => required).flatMap(({ long }) => (long ? [long] : []));
  const cases = all.map(({ words, command }) => {
    const choices = command.options.flatMap((option) => choicesOf(option));
    const offered = [...namesBelow(command), ...flagsOf(command), ...(words.length > 0 ? flagsOf(program) : [])];
    return [
      ...choices.map(
        ({ flag, values }) =>
          `    ${quoted(`/${words.join('/')} ${flag}`)}) COMPREPLY=($(compgen -W ${quoted(values.join(' '))} -- "$current")); return ;;`,
      ),
      `    ${quoted(`/${words.join('/')} `)}*) offered=${quoted([...new Set(offered)].join(' '))} ;;`,
    ].join('\n');
  });
  return `# Completion of ${name} for bash; made by "${name} completion bash".
_${name}() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} path=/ word skip= offered=
  for word in "\${COMP_WORDS[@]:1:$((COMP_CWORD-1))}"; do
    if [ -n "$skip" ]; then skip=; continue; fi
    case "$word" in ${valued.join(' | ')}) skip=1; continue ;; esac
    case "\${path%/}/$word" in ${deeper.join(' | ')}) path="\${path%/}/$word" ;; esac
  done
  case "$path $previous" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$offered" -- "$current"))
}
complete -o default -F _${name} ${name}
`;
}

function choicesOf({ argChoices, long }: Option): { readonly flag: string; readonly values: readonly string[] }[] {
  return argChoices && long ? [{ flag: long, values: argChoices }] : [];
}

function fish(program: Command): string {
  const name = program.name();
  const lines = allOf(program).flatMap(({ words, command }) => {
    const here =
      words.length === 0
        ? '__fish_use_subcommand'
        : words.map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ');
    const condition = words.length === 0 ? [] : ['-n', quoted(here)];
    return [
      ...command.commands.map((one) =>
        ['complete', '-c', name, '-n', quoted(here), '-a', one.name(), '-d', quoted(one.description())].join(' '),
      ),
      ...command.options.map(({ long, short, description, required, argChoices }) =>
        [
          ...['complete', '-c', name, ...condition],
          ...(long ? ['-l', long.slice(2)] : []),
          ...(short ? ['-s', short.slice(1)] : []),
          ...(argChoices ? ['-x', '-a', quoted(argChoices.join(' '))] : required ? ['-r'] : []),
          ...['-d', quoted(description)],
        ].join(' '),
      ),
    ];
  });
  return `# Completion of ${name} for fish; made by "${name} completion fish".\n${lines.join('\n')}\n`;
}

/** The manual in roff, section 1. */
export function manPage(program: Command, version: string, exitCodes: Readonly<Record<string, string>>): string {
  const name = program.name();
  const commands = allOf(program).slice(1);
  const optionLines = (command: Command) =>
    command.options.flatMap(({ flags, description }) => ['.TP', `\\fB${roff(flags)}\\fR`, roff(description)]);
  return `${[
    `.TH ${name.toUpperCase()} 1 "" "aoscore ${version}" "aoscore"`,
    '.SH NAME',
    `${name} \\- ${roff(program.description())}`,
    '.SH SYNOPSIS',
    `\\fB${name}\\fR [options] \\fIcommand\\fR [arguments]`,
    '.SH OPTIONS',
    ...optionLines(program),
    '.SH COMMANDS',
    ...commands
      .filter(({ command }) => doesSomething(command))
      .flatMap(({ words, command }) => [
        `.SS ${roff(`${words.join(' ')} ${command.usage().replace(/^\[options\] ?/, '')}`.trim())}`,
        `${roff(command.description())}.`,
        ...optionLines(command),
      ]),
    '.SH EXIT STATUS',
    ...Object.entries(exitCodes).flatMap(([code, meaning]) => ['.TP', `\\fB${code}\\fR`, roff(meaning)]),
  ].join('\n')}\n`;
}

/** A line that begins with a dot or a quote would be a request. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('\n', ' ')
    .replace(/^([.'])/, '\\&$1');
}
