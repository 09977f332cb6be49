/** Receipts of frames (spec/cloud-protocol.md 6, 8.1, 8.2). */
import * as z from 'zod';
import { Int } from './values.ts';

/** "Received and understood"; never "done". */
export const Ack = z.object({ messageType: z.literal('ack') });
export type Ack = z.output<typeof Ack>;

/** "Not now": the frame is to be sent again after `retryAfter` milliseconds. */
export const Nack = z.object({ messageType: z.literal('nack'), retryAfter: Int.optional() });
export type Nack = z.output<typeof Nack>;
