/** Values that several documents share. */
import * as z from 'zod';
import { isAosError, parseDigest, parseDuration } from '../core/index.ts';

/** A whole number of at least 0; what JavaScript cannot count becomes the largest that it can. */
export const Uint = z
  .number()
  .min(0)
  .refine(Number.isInteger, 'expected a whole number')
  .transform((value) => Math.min(value, Number.MAX_SAFE_INTEGER));

/** Text that ends up in a system call, where a zero byte would cut it. */
export const SystemText = z.string().refine((text) => !text.includes('\0'), 'expected a text without zero bytes');

/** `sha256:<hex>` in lower case. */
export const DigestText = z.string().transform((text, context) => {
  try {
    const { algorithm, hex } = parseDigest(text);
    return `${algorithm}:${hex}`;
  } catch (error) {
    return refuse(error, context);
  }
});

/** A duration in any form of spec/cloud-protocol.md 9.2; read into milliseconds, never negative. */
export const DurationMs = z.union([z.string(), z.number()]).transform((value, context) => {
  try {
    const durationMs = parseDuration(value);
    if (durationMs >= 0) return durationMs;
    context.addIssue({ code: 'custom', message: 'expected a duration of at least 0' });
    return z.NEVER;
  } catch (error) {
    return refuse(error, context);
  }
});

function refuse(error: unknown, context: z.RefinementCtx): never {
  if (!isAosError(error)) throw error;
  context.addIssue({ code: 'custom', message: error.message });
  return z.NEVER;
}

/** A set of names: an object whose keys count, or a list of them, or a list of such objects (spec/decisions.md C-46). */
export const NameSet = z
  .union([
    z.record(z.string(), z.unknown()),
    z.array(z.union([z.string(), z.record(z.string(), z.unknown())])).readonly(),
  ])
  .transform((value) => [
    ...new Set(
      Array.isArray(value)
        ? value.flatMap((entry: string | Record<string, unknown>) =>
            typeof entry === 'string' ? [entry] : Object.keys(entry),
          )
        : Object.keys(value),
    ),
  ]);
