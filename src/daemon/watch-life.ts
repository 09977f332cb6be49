/** Notices a peer of a WebSocket that died, or fell off the network, without a goodbye (spec/decisions.md C-12). */
import type { WebSocket } from 'ws';
import { type Clock, systemClock } from '../core/index.ts';

export interface LifeNumbers {
  readonly pingIntervalMs: number;
  /** A connection on which nothing arrives for so long is dead. */
  readonly deadAfterMs: number;
}

/**
 * Asks for a sign of life, and breaks an open connection that gives none. A peer that never answered a ping is not judged
 * by its silence. `onDead` is told before the connection ends.
 */
export function watchLife(
  socket: WebSocket,
  { pingIntervalMs, deadAfterMs }: LifeNumbers,
  onDead: (silentMs: number) => void,
  clock: Pick<Clock, 'monotonicMs'> = systemClock,
): void {
  let heardMs = clock.monotonicMs();
  let answersPings = false;
  const heard = () => {
    heardMs = clock.monotonicMs();
  };
  socket.on('message', heard);
  socket.on('ping', heard);
  socket.on('pong', () => {
    heard();
    answersPings = true;
  });
  const asking = setInterval(() => {
    const silentMs = clock.monotonicMs() - heardMs;
    if (answersPings && silentMs >= deadAfterMs) {
      onDead(silentMs);
      socket.terminate();
    } else if (socket.readyState === socket.OPEN) socket.ping();
  }, pingIntervalMs);
  socket.once('close', () => clearInterval(asking));
}
