/** The log of one instance for somebody at this node: `aosctl logs` (spec/beyond.md P-04). */
import * as z from 'zod';
import { AosError, type InstanceIdent, readDocument } from '../../core/index.ts';
import type { LogLine } from './log-file.ts';
import type { LoggedInstance, LogSource } from './log-provider.ts';

const MAX_TAIL = 10_000;

const Moment = z.iso.datetime({ offset: true }).transform((text) => new Date(text));

const LogQuery = z.object({
  /** `item/subject/index`, any beginning of it that means one instance alone, or the instance id. */
  instance: z.string().min(1),
  since: Moment.optional(),
  till: Moment.optional(),
  /** Only the last so many lines of what is there. */
  tail: z.int().min(0).max(MAX_TAIL).optional(),
  follow: z.boolean().default(false),
  /** What it wrote before its present run. */
  previous: z.boolean().default(false),
});
type LogQuery = z.output<typeof LogQuery>;

/** A line as it travels to `aosctl`. */
export interface LocalLogLine {
  /** ISO 8601. */
  readonly at: string;
  readonly text: string;
}

export interface LocalLogsParts {
  readonly instances: () => readonly LoggedInstance[];
  readonly source: LogSource;
}

/**
 * Lines as they are read; with `follow` they go on until the signal aborts. Throws `notFound` for an instance that this
 * node does not have, `invalidArgument` for a name that means several or a question that makes no sense.
 */
export async function* localLogs(
  { instances, source }: LocalLogsParts,
  body: unknown,
  signal: AbortSignal,
): AsyncGenerator<LocalLogLine> {
  const query = readDocument(LogQuery, body, { what: 'the question for a log' }).value;
  if (query.follow && (query.previous || query.till)) {
    throw new AosError('invalidArgument', 'what is over cannot be followed: give either follow, or previous or till');
  }
  const chosen = chooseInstance(instances(), query.instance);
  const { from, till } = spanOf(query, chosen);
  if (query.follow && query.tail === undefined) {
    for await (const line of source.follow(chosen.id, from, signal)) yield written(line);
    return;
  }
  if (query.tail === undefined) {
    for await (const line of source.instances([chosen.id], from, till)) yield written(line);
    return;
  }
  const last: LogLine[] = [];
  let since = from;
  for await (const line of source.instances([chosen.id], from, till)) {
    last.push(line);
    if (last.length > query.tail) last.shift();
    since = new Date(line.at.getTime() + 1);
  }
  for (const line of last) yield written(line);
  if (!query.follow) return;
  for await (const line of source.follow(chosen.id, since, signal)) yield written(line);
}

const written = ({ at, text }: LogLine): LocalLogLine => ({ at: at.toISOString(), text });

export function nameOfInstance({ itemId, subjectId, instance }: InstanceIdent): string {
  return `${itemId}/${subjectId}/${instance}`;
}

/** The one instance that a name means. Pure. */
export function chooseInstance(instances: readonly LoggedInstance[], name: string): LoggedInstance {
  const exact = instances.find(({ id, ident }) => id === name || nameOfInstance(ident) === name);
  if (exact) return exact;
  const meant = instances.filter(({ ident }) => nameOfInstance(ident).startsWith(`${name}/`));
  if (meant.length === 1) return meant[0]!;
  const names = (of: readonly LoggedInstance[]) => of.map(({ ident }) => nameOfInstance(ident)).join(', ');
  if (meant.length > 1) throw new AosError('invalidArgument', `"${name}" means several instances: ${names(meant)}`);
  throw new AosError('notFound', `this node has no instance "${name}"; it has: ${names(instances) || 'none'}`);
}

/** From when till when; the previous run ends where the present one begins. */
function spanOf({ since, till, previous }: LogQuery, { runsSince, formerRunFrom }: LoggedInstance) {
  if (!previous) return { from: since, till };
  const end = runsSince && new Date(runsSince.getTime() - 1);
  return { from: since ?? formerRunFrom, till: till ?? end };
}
