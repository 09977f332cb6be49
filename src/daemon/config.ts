/** Configuration files of the daemons (spec/product.md 5, spec/decisions.md 6.1). */
import { readFile } from 'node:fs/promises';
import * as z from 'zod';
import {
  AosError,
  asAosError,
  lineOfField,
  parseDuration,
  parseJson,
  type ReadOptions,
  type ReadResult,
  readDocument,
} from '../core/index.ts';

/**
 * Reads a JSON configuration. A value of the wrong type is an `invalidArgument` with file, key, value and
 * expectation; an unknown key is a warning that names the nearest known one, since units share their files with
 * other implementations.
 */
export async function loadConfig<S extends z.ZodType>(schema: S, path: string): Promise<ReadResult<z.output<S>>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw asAosError(error, `cannot read the configuration ${path}`);
  }
  return readText(schema, text, path);
}

/** Reads the text of a document; an error tells the line: `/etc/aos/cm.cfg:12: storageDir: expected …`. */
export function readText<S extends z.ZodType>(
  schema: S,
  text: string,
  path: string,
  options: Pick<ReadOptions, 'lenientScalars'> = {},
): ReadResult<z.output<S>> {
  const value = parseJson(text, path);
  try {
    return readDocument(schema, value, { ...options, what: path, once: true });
  } catch (error) {
    throw withLine(error, text, path);
  }
}

/** The same error with the line of its field behind the name of the document. */
export function withLine(error: unknown, text: string, what: string): AosError {
  const { code, message, fields } = asAosError(error);
  const line = lineOfField(text, typeof fields.field === 'string' ? fields.field : '');
  const told = message.startsWith(what) ? message.slice(what.length) : `: ${message}`;
  return new AosError(code, `${what}:${line}${told}`, { cause: error, fields: { ...fields, line } });
}

/** A duration in a configuration: `10s`, `PT10S` or a number of seconds; read into milliseconds. */
export const DurationMs = z.union([z.string(), z.number()]).transform((value, context) => {
  try {
    return parseDuration(value);
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as AosError).message });
    return z.NEVER;
  }
});

/** A duration after which something is done again: with none it would be done without a pause. */
export const PeriodMs = DurationMs.refine((ms) => ms > 0, 'expected a duration of more than zero, for example 30s');
