/**
 * Connections that want to be the link of a unit. When the unit has one already that answers, there are two machines with
 * one identity (the clone of a disk): the one that was there stays, the other is told, and the operator hears of it. One
 * that does not answer is what a broken network, or a process of this cloud that died, has left: it ends.
 */
import type { WebSocket } from 'ws';
import { asAosError, type Logger } from '../../core/index.ts';
import { type Cluster, type Hold, NOTHING_HELD } from '../cluster/cluster.ts';
import type { UnitEvents } from '../model/unit-events.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import { CLOSE } from './close-codes.ts';
import type { UnitSession } from './unit-session.ts';

/** Of two machines that claim to be one unit the operator hears once in a while, however often they try. */
const CONFLICT_PAUSE_MS = 10 * 60_000;

export interface ClaimParts {
  readonly database: CloudDatabase;
  readonly events: UnitEvents;
  readonly cluster: Cluster;
  /** How long a unit whose link is claimed may take to show that it is there. */
  readonly probeMs: number;
  /** The link of a unit here. */
  readonly linkOf: (systemId: string) => UnitSession | undefined;
  readonly take: (systemId: string, socket: WebSocket, hold: Hold) => void;
  readonly logger: Logger;
  readonly now: () => Date;
}

export class Claims {
  readonly #parts: ClaimParts;
  /** Connections that wait until it is known whether the former one of their unit is alive. */
  readonly #waiting = new Map<string, WebSocket>();
  readonly #conflicts = new Map<string, number>();

  constructor(parts: ClaimParts) {
    this.#parts = parts;
  }

  /** Takes a new connection, or refuses it; resolves when that is decided, and never rejects. */
  async accept(systemId: string, socket: WebSocket, from: string): Promise<void> {
    const { cluster, linkOf, take, logger } = this.#parts;
    if (!linkOf(systemId) && !cluster.isShared) {
      take(systemId, socket, NOTHING_HELD);
      return;
    }
    if (this.#waiting.has(systemId)) {
      socket.close(CLOSE.policy, 'another connection of this unit is being looked at');
      return;
    }
    this.#waiting.set(systemId, socket);
    const onError = (error: Error) => logger.debug({ systemId, error: error.message }, 'a claim broke off');
    socket.pause();
    socket.on('error', onError);
    try {
      await this.#decide(systemId, socket, from);
    } catch (error) {
      logger.error({ systemId, error: asAosError(error).message }, 'a connection could not be taken');
      socket.terminate();
    } finally {
      this.#waiting.delete(systemId);
      socket.resume();
      socket.off('error', onError);
    }
  }

  /** Whoever waits to take the place of a link must not do so now: the unit may have been reset. */
  refuse(systemId: string, reason: string): void {
    this.#waiting.get(systemId)?.close(CLOSE.policy, reason);
  }

  stop(): void {
    for (const socket of this.#waiting.values()) socket.terminate();
  }

  async #decide(systemId: string, socket: WebSocket, from: string): Promise<void> {
    const { cluster, linkOf, take, probeMs } = this.#parts;
    const link = linkOf(systemId);
    const isAlive = link !== undefined && (await link.isAlive(probeMs)) && linkOf(systemId) === link;
    const hold = isAlive ? undefined : await cluster.claim(systemId, probeMs);
    if (!hold) await this.#refuse(systemId, socket, from);
    else if (socket.readyState === socket.OPEN) take(systemId, socket, hold);
    else hold.release();
  }

  async #refuse(systemId: string, socket: WebSocket, from: string): Promise<void> {
    this.#parts.logger.warn({ systemId, from }, 'two machines claim to be one unit; the second one is refused');
    // Whoever is refused may say so at once; then the operator must find why.
    await this.#tellOperator(systemId, from);
    socket.close(CLOSE.policy, 'a unit with this identity is connected already');
    // The answer to the close frame is to be read.
    socket.resume();
  }

  async #tellOperator(systemId: string, from: string): Promise<void> {
    const { database, events, now } = this.#parts;
    const lastMs = this.#conflicts.get(systemId);
    if (lastMs !== undefined && performance.now() - lastMs < CONFLICT_PAUSE_MS) return;
    const message =
      `another machine at ${from} shows the certificate of this unit while it is connected; ` +
      'it was refused. Is its disk a copy? Reset the unit and provision both anew.';
    await database.write(({ alerts }) => alerts.addOwn(systemId, { tag: 'cloudAlert', message }, now()));
    this.#conflicts.set(systemId, performance.now());
    events.publish(systemId, 'conflict', { from });
  }
}
