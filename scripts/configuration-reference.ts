/** Writes docs/configuration-reference.md from the schemas that the programs check with (spec/beyond.md P-10). */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { jsonSchemas, SCHEMAS } from './schemas.ts';

export const REFERENCE_PAGE = join('docs', 'configuration-reference.md');

/** As much of JSON Schema as the schemas of this project use. */
export interface Schema {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly additionalProperties?: Schema | boolean;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly pattern?: string;
}

const FILES: Readonly<Record<string, string>> = {
  cm: 'cm.cfg, the Communication Manager',
  sm: 'sm.cfg, the Service Manager',
  iam: 'iam.cfg, the Identity and Access Manager',
  mp: 'mp.cfg, the Message Proxy',
  'unit-config': 'Unit configuration',
  item: 'Item configuration of a service',
};

/** One line: a key with all that leads to it, as `imageManager.installPath` or `nodes[].labels`. */
export interface ReferenceRow {
  readonly key: string;
  readonly kind: string;
  readonly rest: string;
}

const TYPES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'number',
  integer: 'whole number',
  boolean: 'true or false',
  object: 'object',
  array: 'list',
  null: 'null',
};

/** What may stand there, in words. */
function kindOf(schema: Schema): string {
  const { type, items } = schema;
  const choices = schema.enum ?? (schema.const === undefined ? undefined : [schema.const]);
  if (choices) return choices.map((value) => `\`${JSON.stringify(value)}\``).join(', ');
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return [...new Set(either.map(kindOf))].join(' or ');
  // What is read from text or number is a duration everywhere here.
  if (Array.isArray(type))
    return type.includes('string') && type.includes('number') ? 'duration' : type.map((one) => TYPES[one]).join(' or ');
  if (type === 'array') return items ? `list of ${plural(kindOf(items))}` : 'list';
  if (type === 'object' && typeof schema.additionalProperties === 'object') {
    return `object of ${plural(kindOf(schema.additionalProperties))} by name`;
  }
  return TYPES[type as string] ?? 'anything';
}

const PLURALS: Readonly<Record<string, string>> = {
  text: 'texts',
  number: 'numbers',
  'whole number': 'whole numbers',
  object: 'objects',
  duration: 'durations',
};
const plural = (kind: string): string => PLURALS[kind] ?? kind;

/** Beyond this JavaScript does not count, and nobody means it. */
const isMeant = (bound: number | undefined): bound is number =>
  bound !== undefined && Math.abs(bound) < Number.MAX_SAFE_INTEGER;

function restOf(schema: Schema, isRequired: boolean): string {
  const { minimum, maximum, minLength, maxLength, minItems, maxItems, default: preset } = schema;
  const range = (least: number | undefined, most: number | undefined, unit: string) => {
    if (isMeant(least) && isMeant(most)) return [`${least} to ${most}${unit}`];
    if (isMeant(least)) return [`at least ${least}${unit}`];
    return isMeant(most) ? [`at most ${most}${unit}`] : [];
  };
  const isPlain =
    preset !== undefined && preset !== '' && !(typeof preset === 'object' && Object.keys(preset ?? {}).length === 0);
  return [
    ...(isRequired ? ['required'] : []),
    ...(isPlain ? [`default \`${JSON.stringify(preset)}\``] : []),
    ...range(minimum, maximum, ''),
    ...range(minLength !== undefined && minLength > 1 ? minLength : undefined, maxLength, ' characters'),
    ...range(minItems, maxItems, ' entries'),
  ].join('; ');
}

/** Every key of a schema, each before those inside it. */
export function rowsOf(schema: Schema, prefix = ''): ReferenceRow[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, member]) => {
    const key = `${prefix}${name}`;
    const row = { key, kind: kindOf(member), rest: restOf(member, schema.required?.includes(name) ?? false) };
    return [row, ...inside(member, key)];
  });
}

function inside(schema: Schema, key: string): ReferenceRow[] {
  const either = (schema.anyOf ?? schema.oneOf ?? []).flatMap((one) => inside(one, key));
  return [
    ...toldOnce(either),
    ...(schema.items ? inside(schema.items, `${key}[]`) : []),
    ...(typeof schema.additionalProperties === 'object' ? inside(schema.additionalProperties, `${key}.<name>`) : []),
    ...rowsOf(schema, `${key}.`),
  ];
}

/** Of several forms each key is told once, with the choices of all of them. */
function toldOnce(rows: readonly ReferenceRow[]): ReferenceRow[] {
  const unique = new Map<string, ReferenceRow>();
  for (const row of rows) {
    const kinds = [unique.get(row.key)?.kind ?? row.kind, row.kind];
    const kind = kinds.every((one) => one.startsWith('`')) ? [...new Set(kinds)].join(', ') : row.kind;
    unique.set(row.key, { ...row, kind });
  }
  return [...unique.values()];
}

const INSTALLED = join(import.meta.dirname, '..', 'packaging', 'etc', 'aos');
const UNITS_MS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const;

/** As people write it: `90s`, `30d`. */
function durationText(ms: number): string {
  const [unit, unitMs] = UNITS_MS.find(([, size]) => ms >= size && ms % size === 0) ?? ['ms', 1];
  return `${ms / unitMs}${unit}`;
}

/**
 * What a daemon makes of a file that says no more than it must: durations have their defaults there, which a JSON Schema
 * cannot say. Undefined where nothing is installed by default.
 */
function leastConfig(name: keyof typeof SCHEMAS, schema: Schema): unknown {
  const path = join(INSTALLED, `${name}.cfg`);
  if (!existsSync(path)) return undefined;
  const installed = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  const must = Object.entries(installed).filter(([key]) => schema.required?.includes(key));
  return SCHEMAS[name].parse(Object.fromEntries(must));
}

function withDuration(row: ReferenceRow, least: unknown): ReferenceRow {
  if (row.kind !== 'duration') return row;
  const value = row.key
    .split('.')
    .reduce<unknown>((part, key) => (part as Record<string, unknown> | undefined)?.[key], least);
  if (typeof value !== 'number') return row;
  return { ...row, rest: [...(row.rest === '' ? [] : [row.rest]), `default \`${durationText(value)}\``].join('; ') };
}

/** The rows of one file, with the defaults that a daemon has. */
export function referenceOf(name: keyof typeof SCHEMAS): ReferenceRow[] {
  const schema = jsonSchemas()[`${name}.schema.json`] as Schema;
  const least = leastConfig(name, schema);
  return rowsOf(schema).map((row) => withDuration(row, least));
}

/** The whole page. */
export function referencePage(): string {
  const parts = Object.entries(FILES).flatMap(([name, title]) => [
    `## ${title}`,
    '',
    '| key | what | |',
    '|---|---|---|',
    ...referenceOf(name as keyof typeof SCHEMAS).map(
      ({ key, kind, rest }) => `| \`${key}\` | ${kind.replaceAll('|', '\\|')} | ${rest.replaceAll('|', '\\|')} |`,
    ),
    '',
  ]);
  return [
    '# Which keys does each file know?',
    '',
    'Made by `node scripts/configuration-reference.ts` from the schemas that the programs check with; what the keys mean is in',
    '[configure](configure.md) and [services](services.md). Keys are found whatever their case. A duration is `10s`, `1h30m`, ISO 8601',
    'or a number of seconds.',
    '',
    ...parts,
  ].join('\n');
}

if (process.argv[1] === import.meta.filename) {
  writeFileSync(join(import.meta.dirname, '..', REFERENCE_PAGE), referencePage());
}
