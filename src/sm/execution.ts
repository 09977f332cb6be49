/** The door for `aosctl exec` (spec/beyond.md P-05). */
import * as z from 'zod';
import { readDocument } from '../core/index.ts';
import type { Runtimes } from './open-runtimes.ts';
import type { Execution } from './runtime/index.ts';

const MAX_WORDS = 4096;

const ExecQuestion = z.object({
  /** `item/subject/index`, any beginning of it that means one instance alone, or the instance id. */
  instance: z.string().min(1),
  command: z.array(z.string()).min(1).max(MAX_WORDS),
  /** Whether the command gets a terminal of its own. */
  terminal: z.boolean().default(false),
});

/**
 * What whoever asks runs on this node: the SM is not between a person and the container. Throws `notFound` and
 * `wrongState` about the instance, `invalidArgument` about the question.
 */
export function execution(runtimes: Runtimes, body: unknown): Promise<Execution> {
  const { instance, command, terminal } = readDocument(ExecQuestion, body, {
    what: 'the question for a command',
  }).value;
  return runtimes.execution(instance, command, terminal);
}
