/** Pages that tell what to do about a message quote messages that a program really says. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

/** Shorter pieces are found anywhere. */
const LEAST_LETTERS = 9;

/** All that any program of ours can say; names in messages, which the pages write as `…`, are cut out. */
const said = [...globSync('src/**/*.ts', { cwd: ROOT }), ...globSync('devenv/*.ts', { cwd: ROOT })]
  .filter((path) => !/\.test\.ts$|-for-tests\.ts$|\/gen\//.test(path))
  .map((path) => words(read(path)))
  .join('\n');

/** Text as it is told: without what only the source has in it, quotes and line breaks between parts of one message. */
function words(source: string): string {
  return (
    source
      .replace(/['"`]\s*\+\s*\n?\s*['"`]/g, '')
      // Words that are there or not.
      .replace(/\$\{[^{}]*\? '([^']*)' : ''\}/g, '$1')
      .replaceAll('\\', '')
      .replace(/\s+/g, ' ')
  );
}

/** First cells of tables, which tell what is seen, with the code in them. */
const symptoms = [
  'troubleshoot',
  'keys',
  'services',
  'provisioning',
  'firmware',
  'multi-node',
  'bundles',
  'start',
].flatMap((page) =>
  read(`docs/${page}.md`)
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .flatMap((line) => [...line.split(' | ')[0]!.matchAll(/`([^`]+)`/g)].map(([, quoted]) => [page, quoted!] as const)),
);

/** Pieces of a message between what differs from one time to the next. */
const piecesOf = (quoted: string) =>
  quoted
    .split(/…(?:\.\w+)?|<[^>]*>|\/[a-z/.]+|aos-\w+|, run by conmon, |\d+/)
    .map((piece) => piece.trim())
    .filter((piece) => piece.length >= LEAST_LETTERS && /[a-z] [a-z]/.test(piece));

const quoted = symptoms.filter(([, message]) => piecesOf(message).length > 0);

test.each(quoted)('docs/%s.md quotes what is said: %s', (_, message) => {
  const missing = piecesOf(message).filter((piece) => !said.includes(piece));
  expect(missing).toEqual([]);
});

test('there are such quotes', () => {
  expect(quoted.length).toBeGreaterThan(20);
});
