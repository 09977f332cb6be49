import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { jsonSchemas } from './schemas.ts';

interface ObjectSchema {
  readonly properties: Readonly<Record<string, object>>;
  readonly required?: readonly string[];
}

const DEFAULTS = join(import.meta.dirname, '..', 'packaging', 'etc', 'aos');

test.each(['cm', 'sm', 'iam'])('[P-10] the schema of %s.cfg knows each key of the installed configuration', (name) => {
  const { properties, required = [] } = jsonSchemas()[`${name}.schema.json`] as ObjectSchema;
  const config = JSON.parse(readFileSync(join(DEFAULTS, `${name}.cfg`), 'utf8')) as object;
  expect(Object.keys(properties)).toEqual(expect.arrayContaining(Object.keys(config)));
  expect(Object.keys(config)).toEqual(expect.arrayContaining([...required]));
});

test('[P-10] durations are text or numbers for who writes them, and choices are listed', () => {
  const text = JSON.stringify(jsonSchemas());
  expect(text).toContain('"cmReconnectTimeout":{"type":["string","number"]}');
  expect(text).toMatch(/"enum":\[/);
  for (const schema of Object.values(jsonSchemas())) expect(schema).toMatchObject({ $schema: expect.any(String) });
});
