import fc from 'fast-check';
import { expect, test } from 'vitest';
import { lineOfField } from './json-place.ts';

const TEXT = `{
  "a": 1,
  "list": [
    { "x": "} , ]" },
    {
      "deep": { "key\\"s": [true, null,
        7] }
    }
  ],
  "Last": -1.5e3
}`;

test.each([
  ['a', 2],
  ['list', 3],
  ['list[0].x', 4],
  ['list[1]', 5],
  ['list[1].deep', 6],
  ['list[1].deep.key"s[2]', 7],
  ['last', 10],
])('[P-10] %s stands in line %i', (field, line) => expect(lineOfField(TEXT, field)).toBe(line));

test.each([
  ['missing', 1],
  ['list[1].missing', 5],
  ['list[7]', 3],
  ['a.b', 2],
  ['', 1],
])('[P-10] what is missing is shown where it is missed: %s in line %i', (field, line) =>
  expect(lineOfField(TEXT, field)).toBe(line),
);

test('[P-10] each value of any document is found where it was written', () => {
  const key = fc.stringMatching(/^[a-z"\\{}\],:]{1,6}$/).filter((text) => !/[.[\]]/.test(text));
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof({ depthSize: 'small' }, fc.string(), fc.double(), fc.boolean(), tie('list'), tie('object')),
    list: fc.array(tie('tree'), { maxLength: 4 }),
    object: fc.dictionary(key, tie('tree'), { maxKeys: 4 }),
  }));
  fc.assert(
    fc.property(tree, (value) => {
      const text = JSON.stringify(value, null, 1);
      for (const [field, line] of placesIn(value)) expect(lineOfField(text, field)).toBe(line);
    }),
  );
});

/** Every field with its line, as JSON.stringify with one value on a line writes it. */
function placesIn(value: unknown, field = '', line = 1): [string, number][] {
  const places: [string, number][] = [[field, line]];
  if (typeof value !== 'object' || value === null) return places;
  let at = line;
  const lower = new Set<string>();
  for (const [key, entry] of Object.entries(value)) {
    at += 1;
    const name = Array.isArray(value) ? `${field}[${key}]` : field === '' ? key : `${field}.${key}`;
    if (!lower.has(key.toLowerCase())) places.push(...placesIn(entry, name, at));
    lower.add(key.toLowerCase());
    at += linesOf(entry) - 1;
  }
  return places;
}

const linesOf = (value: unknown) => (JSON.stringify(value, null, 1) ?? 'null').split('\n').length;
