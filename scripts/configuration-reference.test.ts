import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { REFERENCE_PAGE, referenceOf, referencePage, rowsOf } from './configuration-reference.ts';

const ROOT = join(import.meta.dirname, '..');
const pageOf = (name: string) => readFileSync(join(ROOT, name), 'utf8');

test('[P-10] the configuration reference is that of the schemas; "node scripts/configuration-reference.ts" writes it', () => {
  expect(pageOf(REFERENCE_PAGE)).toBe(referencePage());
});

test('[P-10] each key says what may stand there, whether it must, its bounds and its default', () => {
  const cm = new Map(referenceOf('cm').map(({ key, kind, rest }) => [key, `${kind}: ${rest}`]));
  expect(cm.get('workingDir')).toBe('text: required');
  expect(cm.get('unitStatusSendTimeout')).toBe('duration: default `10s`');
  expect(cm.get('imageManager.updateItemTtl')).toBe('duration: default `30d`');
  expect(cm.get('storage.quota')).toBe('`"auto"`, `"required"`, `"off"`: default `"auto"`');
  expect(cm.get('updates.sota.timetable[].dayOfWeek')).toBe('whole number: required; 1 to 7');
});

test('choices of several forms, lists and named members are told once each', () => {
  const schema = {
    properties: {
      run: { anyOf: [{ type: 'string' }, { type: 'object', properties: { id: { type: 'string' } } }] },
      ports: {
        type: 'object',
        additionalProperties: { type: 'object', properties: { open: { type: 'boolean', default: true } } },
      },
      list: {
        type: 'array',
        items: { type: 'object', properties: { n: { type: 'integer', minimum: 1 } } },
        maxItems: 3,
      },
    },
    required: ['run'],
  };
  expect(rowsOf(schema).map(({ key, kind, rest }) => `${key} | ${kind} | ${rest}`)).toEqual([
    'run | text or object | required',
    'run.id | text | ',
    'ports | object of objects by name | ',
    'ports.<name>.open | true or false | default `true`',
    'list | list of objects | at most 3 entries',
    'list[].n | whole number | at least 1',
  ]);
});

/** Written for other implementations, and read here without any use. */
const UNUSED = /^(migration|vchan\.(domain|xs[RT]xPath)|monitoring\.(pollPeriod|averageWindow))$/;

test.each(['cm', 'sm', 'iam', 'mp'] as const)(
  '[P-10] each key of %s.cfg is explained in the page about configuration',
  (name) => {
    const page = pageOf(join('docs', 'configure.md'));
    const missing = referenceOf(name)
      .map(({ key }) => key)
      .filter((key) => !UNUSED.test(key))
      // A key is explained by its own name, or where its parts stand one below the other.
      .filter((key) => !page.includes(`\`${key}\``) && !page.includes(key.split(/\.|\[\]/).at(-1)!));
    expect(missing).toEqual([]);
  },
);
