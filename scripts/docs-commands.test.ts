/** Each command line of aosctl in the documents is one that aosctl takes, with its arguments, options and values. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { commandsOf } from '../src/cli/program.ts';

const ROOT = join(import.meta.dirname, '..');
const PAGES = [
  'README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    // The list of capabilities names what is still to come, too.
    .filter((name) => name.endsWith('.md') && name !== 'capabilities.md')
    .map((name) => join('docs', name)),
];

interface Written {
  readonly page: string;
  readonly line: string;
  /** In a sentence a command may be named without all that it needs, and an option without a command. */
  readonly isMention: boolean;
}

/** Words of a shell: quotes hold together, a comment and a pipe end it. */
function wordsOf(line: string): string[] {
  const words: string[] = [];
  for (const [, double, single, plain] of line.matchAll(/"([^"]*)"|'([^']*)'|([^\s"']+)/g)) {
    if (plain !== undefined && /^[#|&;>]/.test(plain)) break;
    words.push(double ?? single ?? plain!);
  }
  return words;
}

/** What people put in their own words for: `<system id>`, `…`, `[--wait <seconds>]`. */
const filled = (line: string): string =>
  line
    .replaceAll(/<(seconds|count|number|lines|days)>/g, '1')
    .replaceAll(/--(priority|instances|wait|days|nodes|tail) …/g, '--$1 1')
    .replaceAll(/--for …/g, '--for 1h')
    .replaceAll(/--role …/g, '--role oem')
    .replaceAll('<shell>', 'bash')
    .replaceAll(/<[^>]+>/g, 'something')
    .replaceAll('…', 'something')
    .replaceAll(/[[\]]/g, '');

/** Lines in blocks of code. */
function blockLines(text: string): string[] {
  return [...text.matchAll(/^```\w*\n([\s\S]*?)^```/gm)].flatMap(([, block]) =>
    block!.replaceAll('\\\n', ' ').split('\n'),
  );
}

function writtenIn(page: string): Written[] {
  const text = readFileSync(join(ROOT, page), 'utf8');
  const inBlocks = blockLines(text).flatMap((line) => {
    const found = /^(?:\$ |sudo )*(?:aosctl|\.\/dev ctl) (.+)$/.exec(line.trim());
    return found ? [found[1]!] : [];
  });
  const inSentences = [
    ...text.replaceAll(/^```\w*\n[\s\S]*?^```/gm, '').matchAll(/`(?:aosctl|\.\/dev ctl) ([^`]+)`/g),
  ].map((match) => match[1]!);
  return [
    ...inBlocks.map((line) => ({ page, line, isMention: false })),
    ...inSentences.map((line) => ({ page, line: line.replaceAll('\n', ' '), isMention: true })),
  ];
}

/** What aosctl says to a command line; undefined when it would do it. */
async function complaint(words: readonly string[]): Promise<string | undefined> {
  let said = '';
  const out = {
    write: (text: string) => {
      said += text;
    },
  };
  const program: Command = commandsOf(async () => undefined, { write: () => undefined }, out);
  try {
    await program.parseAsync(words, { from: 'user' });
    return undefined;
  } catch (error) {
    const { exitCode } = error as { exitCode?: number };
    if (exitCode === undefined) throw error;
    return exitCode === 0 ? undefined : said.split('\n')[0];
  }
}

const WRITTEN = PAGES.flatMap(writtenIn);

describe('each command line in the documents', () => {
  test('is found', () => {
    expect(WRITTEN.length).toBeGreaterThan(100);
    expect(WRITTEN.map(({ page }) => page)).toEqual(
      expect.arrayContaining(['README.md', 'docs/bundles.md', 'docs/start.md']),
    );
  });

  test.each(WRITTEN.map(({ page, line, isMention }) => [page, line, isMention] as const))(
    '%s: aosctl %s',
    async (_, line, isMention) => {
      const words = wordsOf(filled(line));
      const said = await complaint(words);
      const isOption = isMention && said?.startsWith('Usage:');
      const refusal = isOption ? await complaint([...words, 'units']) : said;
      const isOnlyShort = isMention && /missing required argument|required option/.test(refusal ?? '');
      expect(isOnlyShort ? undefined : refusal).toBeUndefined();
    },
  );

  test('every command of aosctl is named on its page', () => {
    const nowhere = { write: () => undefined };
    const namesIn = (command: Command, words: readonly string[] = []): string[] =>
      command.commands.length === 0
        ? [words.join(' ')]
        : command.commands.flatMap((one) => namesIn(one, [...words, one.name()]));
    const page = readFileSync(join(ROOT, 'docs', 'aosctl.md'), 'utf8');
    // A row names what follows the first command of a family by its own word alone.
    const quoted = [...page.matchAll(/`([^`]+)`/g)].flatMap(([, words]) => words!.split(/\s+/));
    const missing = namesIn(commandsOf(async () => undefined, nowhere, nowhere)).filter(
      (name) => !name.split(' ').every((word) => quoted.includes(word)),
    );
    expect(missing).toEqual([]);
  });

  test.each([
    ['status --colour', /unknown option/],
    ['frobnicate', /unknown command/],
    ['deploy web --version 1 --instances many', /invalid/],
    ['why', /missing required argument/],
  ])('one that aosctl does not take is seen: %s', async (line, words) => {
    expect(await complaint(wordsOf(line))).toMatch(words);
  });
});
