/** States of instances (spec/cloud-protocol.md 8.11 to 8.14). */
import * as z from 'zod';
import { instanceShape, namedInstanceShape } from './identity.ts';
import { message } from './message.ts';
import { Flag, StateChecksum, text } from './values.ts';

/** Bytes of a state (spec/decisions.md 8.3). */
export const MAX_STATE_BYTES = 64 * 1024;

const StateText = text(MAX_STATE_BYTES);

/** An instance has written a new state; the cloud is asked to accept it. */
export const NewState = message('newState', {
  ...instanceShape,
  stateChecksum: StateChecksum,
  state: StateText,
});
export type NewState = z.output<typeof NewState>;

/** The verdict on a new state. */
export const StateAcceptance = message('stateAcceptance', {
  ...namedInstanceShape,
  checksum: StateChecksum,
  result: z.enum(['accepted', 'rejected']),
  reason: z.string().default(''),
});
export type StateAcceptance = z.output<typeof StateAcceptance>;

/** The unit needs the state of an instance. */
export const StateRequest = message('stateRequest', { ...instanceShape, default: Flag });
export type StateRequest = z.output<typeof StateRequest>;

/** Gives an instance its state, on request or unasked. */
export const UpdateState = message('updateState', {
  ...namedInstanceShape,
  stateChecksum: StateChecksum,
  state: StateText,
});
export type UpdateState = z.output<typeof UpdateState>;
