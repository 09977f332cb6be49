/** JSON from outside, as AosCore reads it: keys without regard to case, null as absent (spec/cm.md 0.6). */
import { AosError } from './error.ts';

/** Parses text; throws `invalidArgument` with the place of the fault and what the text is. */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new AosError('invalidArgument', `${what} is not JSON: ${(error as Error).message}`, { cause: error });
  }
}

/** True for an object that is neither null nor an array. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
