/** What carries the frames between proxy and peer: a reliable, ordered stream of bytes (spec/mp.md 5). */
import type { Duplex } from 'node:stream';

export interface Transport {
  /** Where it is reached, or what it reaches. */
  readonly address: string;
  /** Whether `next` begins something each time, and is not called again without a pause; else it waits for what comes. */
  readonly begins: boolean;
  /** The next connection; an older one was closed. Throws `canceled`, or why there is none. */
  next(signal: AbortSignal): Promise<Duplex>;
  /** Takes no further connections. */
  close(): Promise<void>;
}
