/** The documents name what there is: commands of aosctl, and files that links lead to. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const PAGES = [
  'README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    // The list of capabilities names what is still to come, too.
    .filter((name) => name.endsWith('.md') && name !== 'capabilities.md')
    .map((name) => join('docs', name)),
];
const textOf = (page: string) => readFileSync(join(ROOT, page), 'utf8');

/** Every command with the commands below it, as aosctl completes them. */
function commandNames(): Set<string> {
  const script = execFileSync(process.execPath, [join(ROOT, 'src', 'cli', 'main.ts'), 'completion', 'bash'], {
    encoding: 'utf8',
  });
  const [, offered = ''] = /'\/ '\*\) offered='([^']*)'/.exec(script) ?? [];
  return new Set(offered.split(' ').filter((word) => !word.startsWith('-')));
}

test('each command of aosctl that a page names exists', () => {
  const known = commandNames();
  expect(known).toContain('status');
  const unknown = PAGES.flatMap((page) =>
    [...textOf(page).matchAll(/(?:`|^|\$ |\.\/dev ctl |aosctl (?:--\S+ )*)aosctl ([a-z][a-z-]+)/gm)]
      .map(([, name]) => name!)
      .filter((name) => !known.has(name))
      .map((name) => `${page}: aosctl ${name}`),
  );
  expect(unknown).toEqual([]);
});

test('each link between pages leads to a file, and to a heading where it names one', () => {
  const broken = PAGES.flatMap((page) =>
    [...textOf(page).matchAll(/\]\(([^)#:\s]*)(?:#([^)\s]*))?\)/g)]
      .map(([, target = '', anchor]) => ({ target: target === '' ? page : join(dirname(page), target), anchor }))
      .filter(({ target, anchor }) => !existsSync(join(ROOT, target)) || (anchor && !headings(target).includes(anchor)))
      .map(({ target, anchor }) => `${page}: ${target}${anchor ? `#${anchor}` : ''}`),
  );
  expect(broken).toEqual([]);
});

test('each decision has its number and the beginning of its title in the index, in their order', () => {
  const directory = join('docs', 'decisions');
  const files = readdirSync(join(ROOT, directory)).filter((name) => /^\d{4}-/.test(name));
  const index = [...textOf(join(directory, 'README.md')).matchAll(/^(\d+)\. \[(.+)\]\((.+)\)$/gm)];
  expect(index.map(([, , , file]) => file)).toEqual(files.toSorted());
  const wrong = index.filter(([, number, title, file]) => {
    const head = `# ${Number(file!.slice(0, 4))}. ${title}`;
    return Number(number) !== Number(file!.slice(0, 4)) || !textOf(join(directory, file!)).startsWith(head);
  });
  expect(wrong.map(([line]) => line)).toEqual([]);
});

function headings(page: string): string[] {
  return [...textOf(page).matchAll(/^#+ (.+)$/gm)].map(([, text]) =>
    text!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}
