/** What every message has (spec/cloud-protocol.md 4, 5.4). */
import * as z from 'zod';
import { CorrelationId, Int, OptionalCorrelationId } from './values.ts';

/** The schema of one message; `correlationId` is absent where nothing correlates. */
export function message<T extends string, S extends z.ZodRawShape>(messageType: T, shape: S) {
  return z.object({ messageType: z.literal(messageType), correlationId: OptionalCorrelationId, ...shape });
}

/** The schema of a message that is nothing without its `correlationId`. */
export function correlatedMessage<T extends string, S extends z.ZodRawShape>(messageType: T, shape: S) {
  return z.object({ messageType: z.literal(messageType), correlationId: CorrelationId, ...shape });
}

/** An error; a code of 0 or less means that there is none, whatever the text says. */
export const OptionalErrorInfo = z
  .object({ aosCode: Int.default(0), exitCode: Int.default(0), message: z.string().default('') })
  .transform((info) => (info.aosCode > 0 ? info : undefined))
  .optional();
