/** What processes tell each other, as text; those of a rolling update may be of different age. */
import * as z from 'zod';
import type { CloudMessage } from '../../protocol/index.ts';
import type { UnitEvent } from '../model/unit-events.ts';
import type { Order } from './cluster.ts';

const OrderShape = z.discriminatedUnion('do', [
  z.object({ do: z.literal('tellDesired') }),
  z.object({ do: z.literal('tellEnvVars') }),
  z.object({ do: z.literal('close'), reason: z.string() }),
  z.object({ do: z.literal('resendDesired'), txn: z.string() }),
  // What goes to a unit was checked where it was made.
  z.object({
    do: z.literal('send'),
    txn: z.string(),
    message: z.custom<CloudMessage>((value) => typeof value === 'object'),
  }),
]) satisfies z.ZodType<Order>;

const EventShape = z.object({
  systemId: z.string(),
  at: z.string(),
  event: z.custom<UnitEvent['event']>((value) => typeof value === 'string'),
  data: z.record(z.string(), z.unknown()),
}) satisfies z.ZodType<UnitEvent>;

const Note = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('events'), events: z.array(EventShape) }),
  /** Somebody may see more or less than before. */
  z.object({ kind: z.literal('access') }),
  z.object({ kind: z.literal('up'), systemId: z.string() }),
  z.object({ kind: z.literal('down'), systemId: z.string() }),
  /** The process has ended in order, and what it had to tell is told. */
  z.object({ kind: z.literal('left') }),
  /** Processes that were found dead. */
  z.object({ kind: z.literal('gone'), processes: z.array(z.string()) }),
  z.object({
    kind: z.literal('probe'),
    to: z.string(),
    question: z.string(),
    systemId: z.string(),
    probeMs: z.number(),
  }),
  z.object({ kind: z.literal('tell'), systemId: z.string(), order: OrderShape }),
  z.object({ kind: z.literal('order'), to: z.string(), question: z.string(), systemId: z.string(), order: OrderShape }),
  /** To a probe: whether the unit is alive; to an order: whether it was done, or why not. */
  z.object({ kind: z.literal('answer'), to: z.string(), question: z.string(), yes: z.boolean(), because: z.string() }),
]);
export type Note = z.infer<typeof Note>;

const Envelope = z.object({ from: z.string(), note: Note });
/** The note is in the table of letters: it is too large for a notification. */
const Reference = z.object({ letter: z.int() });

export type Envelope = z.infer<typeof Envelope>;

export const toText = (envelope: Envelope): string => JSON.stringify(envelope);

/** The number of the letter that a text refers to, or the note in it; undefined for what a newer program says. */
export function fromText(text: string): Envelope | { readonly letter: number } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const reference = Reference.safeParse(value);
  if (reference.success) return reference.data;
  return Envelope.safeParse(value).data;
}
