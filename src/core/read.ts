/**
 * Reading of documents from outside: configuration files, cloud messages, OCI documents.
 *
 * AosCore matches keys without regard to case, takes null as absent and, in cloud messages and item
 * documents, converts scalars (spec/cm.md 0.6, spec/cloud-protocol.md 4). `readDocument` brings a JSON value into
 * the spelling of its schema first and lets zod judge the rest, so that a schema says each thing once.
 */
import * as z from 'zod';
import { AosError } from './error.ts';
import { isObject } from './json.ts';

export interface ReadOptions {
  /** What the document is, for the error: `cm.cfg`, `desiredStatus`. */
  readonly what: string;
  /** Takes `"10"` for 10, `10` for `"10"` and `"true"` for true. */
  readonly lenientScalars?: boolean;
  /** Documents of this kind are read once: the schema is not compiled for more of them, which takes longer than reading one. */
  readonly once?: boolean;
}

export interface ReadResult<T> {
  readonly value: T;
  /** Keys that the schema does not know, with the nearest that it knows. */
  readonly warnings: readonly string[];
}

interface Walk {
  readonly lenientScalars: boolean;
  readonly warnings: string[];
}

/** Reads a value by its schema. Throws `invalidArgument` naming the field, what it holds and what was expected. */
export function readDocument<S extends z.ZodType>(
  schema: S,
  input: unknown,
  options: ReadOptions,
): ReadResult<z.output<S>> {
  const walk: Walk = { lenientScalars: options.lenientScalars ?? false, warnings: [] };
  const spelled = spell(schema, input, [], walk);
  const result = schema.safeParse(spelled, { jitless: options.once ?? false });
  if (!result.success) throw refusal(result.error, spelled, options.what);
  return { value: result.data, warnings: walk.warnings };
}

/** One sentence for the first fault of a document, with the place, the expectation and the finding. */
function refusal(error: z.ZodError, input: unknown, what: string): AosError {
  const issue = deepest(error.issues[0]!);
  const path = issue.path.map(String);
  const found = path.reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], input);
  const place = path.length === 0 ? what : `${what}: ${formatPath(issue.path)}`;
  return new AosError('invalidArgument', `${place}: ${issue.message}, found ${describe(found)}`, {
    fields: { field: formatPath(issue.path) },
  });
}

/** For a union the issue of the alternative that came farthest says more than "invalid input". */
function deepest(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== 'invalid_union') return issue;
  const candidates = issue.errors.flatMap((issues) => issues.slice(0, 1)).map(deepest);
  const best = candidates.sort((a, b) => b.path.length - a.path.length)[0];
  return best && best.path.length > 0 ? { ...best, path: [...issue.path, ...best.path] } : issue;
}

function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
    .join('')
    .replace(/^\./, '');
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** Unwraps optional, default, nullable and pipes down to the schema that says the shape. */
function shapeOf(schema: z.core.$ZodType): z.core.$ZodType {
  const def = schema._zod.def as {
    type: string;
    innerType?: z.core.$ZodType;
    in?: z.core.$ZodType;
    getter?: () => z.core.$ZodType;
  };
  if (def.type === 'pipe') {
    // A preprocess is a pipe whose input is a transform: its shape is on the other side.
    const input = def.in!;
    return (input._zod.def as { type: string }).type === 'transform'
      ? shapeOf((def as unknown as { out: z.core.$ZodType }).out)
      : shapeOf(input);
  }
  if (def.type === 'lazy') return shapeOf(def.getter!());
  return def.innerType ? shapeOf(def.innerType) : schema;
}

function spell(schema: z.core.$ZodType, value: unknown, path: readonly string[], walk: Walk): unknown {
  const shaped = shapeOf(schema);
  const def = shaped._zod.def as unknown as {
    type: string;
    shape?: Record<string, z.core.$ZodType>;
    element?: z.core.$ZodType;
    valueType?: z.core.$ZodType;
    options?: readonly z.core.$ZodType[];
    discriminator?: string;
  };
  switch (def.type) {
    case 'object':
      return isObject(value) ? spellObject(def.shape!, value, path, walk) : value;
    case 'array':
      return Array.isArray(value)
        ? value.map((entry, index) => spell(def.element!, entry, [...path, String(index)], walk))
        : value;
    case 'record':
      return isObject(value)
        ? Object.fromEntries(
            Object.entries(value)
              .filter(([, entry]) => entry !== null)
              .map(([key, entry]) => [key, spell(def.valueType!, entry, [...path, key], walk)]),
          )
        : value;
    case 'union': {
      const named = optionNamed(def.options!, def.discriminator, value);
      return named ? spell(named, value, path, walk) : spellUnion(def.options!, value, path, walk);
    }
    default:
      return walk.lenientScalars ? convertScalar(def.type, value) : value;
  }
}

/** The alternative that a value names itself, so that what else is wrong with it is said in the words of that one. */
function optionNamed(
  options: readonly z.core.$ZodType[],
  discriminator: string | undefined,
  value: unknown,
): z.core.$ZodType | undefined {
  if (discriminator === undefined || !isObject(value)) return undefined;
  const key = Object.keys(value).find((name) => name.toLowerCase() === discriminator.toLowerCase());
  if (key === undefined) return undefined;
  return options.find((option) => option._zod.propValues?.[discriminator]?.has(value[key] as z.core.util.Primitive));
}

/** The alternative that accepts the value wins; unknown keys are reported for that one only. */
function spellUnion(options: readonly z.core.$ZodType[], value: unknown, path: readonly string[], walk: Walk): unknown {
  for (const option of options) {
    const trial: Walk = { ...walk, warnings: [] };
    const spelled = spell(option, value, path, trial);
    if (z.safeParse(option, spelled).success) {
      walk.warnings.push(...trial.warnings);
      return spelled;
    }
  }
  return value;
}

function spellObject(
  shape: Record<string, z.core.$ZodType>,
  value: Record<string, unknown>,
  path: readonly string[],
  walk: Walk,
): Record<string, unknown> {
  const known = new Map(Object.keys(shape).map((key) => [key.toLowerCase(), key]));
  const result: Record<string, unknown> = {};
  const exact = new Set<string>();
  for (const [key, entry] of Object.entries(value)) {
    const name = known.get(key.toLowerCase());
    if (name === undefined) {
      walk.warnings.push(unknownKey([...path, key].join('.'), key, [...known.values()]));
      continue;
    }
    // Two keys that differ only in case: the exact spelling wins, else the first (spec/decisions.md 2.5).
    if (entry === null || exact.has(name) || (name in result && key !== name)) continue;
    if (key === name) exact.add(name);
    result[name] = spell(shape[name]!, entry, [...path, name], walk);
  }
  return result;
}

function convertScalar(type: string, value: unknown): unknown {
  if (type === 'string' && (typeof value === 'number' || typeof value === 'boolean')) return String(value);
  if ((type === 'number' || type === 'int') && typeof value === 'string' && /^-?\d+(?:\.\d+)?$/.test(value.trim())) {
    return Number(value);
  }
  if (type === 'boolean' && (value === 'true' || value === 'false')) return value === 'true';
  return value;
}

function unknownKey(place: string, key: string, known: readonly string[]): string {
  const ranked = known
    .map((name) => ({ name, distance: editDistance(key.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const nearest = ranked[0];
  const hint =
    nearest && nearest.distance <= Math.max(2, Math.floor(key.length / 3)) ? `; did you mean "${nearest.name}"?` : '';
  return `unknown key "${place}" is ignored${hint}`;
}

/** Levenshtein distance of two short texts. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      row.push(Math.min(row[j - 1]! + 1, previous[j]! + 1, previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    previous = row;
  }
  return previous[b.length]!;
}
