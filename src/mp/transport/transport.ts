/** What carries the frames between proxy and peer: a reliable, ordered stream of bytes (spec/mp.md 5). */
import type { Duplex } from 'node:stream';

export interface Transport {
  /** Where it is reached, or what it reaches. */
  readonly address: string;
  /** The next connection; an older one was closed. Throws `canceled`, or why there is none. */
  next(signal: AbortSignal): Promise<Duplex>;
  /** Takes no further connections. */
  close(): Promise<void>;
}
