/** The links of all units, and what goes out on them. */
import type { WebSocket } from 'ws';
import { AosError, asAosError, type Logger } from '../../core/index.ts';
import type { CloudMessage, DesiredStatus } from '../../protocol/index.ts';
import { wantedConfig, wantedOn } from '../domain/facts.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import type { PublishedItem } from '../store/items.ts';
import type { Stores } from '../store/stores.ts';
import { nodesToChange, planDesiredStatus } from './desired-status.ts';
import type { UnitEvents } from './events.ts';
import { UnitMessageHandler } from './message-handler.ts';
import type { NodeProvisioning } from './node-provisioning.ts';
import { type SessionTimes, UnitSession } from './unit-session.ts';

/** Codes of close frames. */
const CLOSE = { goingAway: 1001, policy: 1008, failed: 1011 } as const;

/** How long a unit whose link is claimed by another machine may take to show that it is there. */
const MAX_PROBE_MS = 5000;
/** Of two machines that claim to be one unit the operator hears once in a while, however often they try. */
const CONFLICT_PAUSE_MS = 10 * 60_000;

/** How long a unit may take to answer a close frame when the cloud stops. */
const STOP_PATIENCE_MS = 1000;

export interface FleetParts {
  readonly database: CloudDatabase;
  readonly events: UnitEvents;
  readonly nodes: NodeProvisioning;
  readonly blobsUrl: () => string;
  /** Told when a unit has come and told of itself. */
  readonly onOpen?: (systemId: string) => void;
  readonly times: SessionTimes;
  readonly logger: Logger;
  readonly now: () => Date;
}

interface Link {
  readonly session: UnitSession;
  /** The unit has told of itself on this link, and so takes a desired status. */
  opened: boolean;
  /** A desired status is being made, or is on its way. */
  desiredInFlight: boolean;
  /** What is wanted has changed since the last desired status was made. */
  desiredIsOld: boolean;
}

export class Fleet {
  readonly #parts: FleetParts;
  readonly #links = new Map<string, Link>();
  /** Connections that wait until it is known whether the former one of their unit is alive. */
  readonly #claims = new Map<string, WebSocket>();
  readonly #conflicts = new Map<string, number>();

  constructor(parts: FleetParts) {
    this.#parts = parts;
  }

  /**
   * Takes a new connection. When the unit has one already that answers, there are two machines with one identity (the
   * clone of a disk): the one that was there stays, the other is told, and the operator hears of it. One that does not
   * answer is what a broken network has left, and ends.
   */
  accept(systemId: string, socket: WebSocket, from: string): void {
    const link = this.#links.get(systemId);
    if (!link) {
      this.#take(systemId, socket);
      return;
    }
    if (this.#claims.has(systemId)) {
      socket.close(CLOSE.policy, 'another connection of this unit is being looked at');
      return;
    }
    this.#claims.set(systemId, socket);
    socket.pause();
    socket.on('error', (error) => this.#parts.logger.debug({ systemId, error: error.message }, 'a claim broke off'));
    const probeMs = Math.min(MAX_PROBE_MS, this.#parts.times.ackTimeoutMs);
    link.session
      .isAlive(probeMs)
      .then(async (alive) => {
        this.#claims.delete(systemId);
        socket.resume();
        if (alive && this.#links.get(systemId) === link) await this.#refuse(systemId, socket, from);
        else if (socket.readyState === socket.OPEN) this.#take(systemId, socket);
      })
      .catch((error) => {
        this.#parts.logger.error({ systemId, error: asAosError(error).message }, 'a connection could not be taken');
        socket.terminate();
      });
  }

  async #refuse(systemId: string, socket: WebSocket, from: string): Promise<void> {
    const { database, events, logger, now } = this.#parts;
    socket.close(CLOSE.policy, 'a unit with this identity is connected already');
    logger.warn({ systemId, from }, 'two machines claim to be one unit; the second one is refused');
    const lastMs = this.#conflicts.get(systemId);
    if (lastMs !== undefined && performance.now() - lastMs < CONFLICT_PAUSE_MS) return;
    this.#conflicts.set(systemId, performance.now());
    const message =
      `another machine at ${from} shows the certificate of this unit while it is connected; ` +
      'it was refused. Is its disk a copy? Reset the unit and provision both anew.';
    await database.write(({ alerts }) => alerts.addOwn(systemId, { tag: 'cloudAlert', message }, now()));
    events.publish(systemId, 'conflict', { from });
  }

  #take(systemId: string, socket: WebSocket): void {
    const { database, events, nodes, blobsUrl, times, now } = this.#parts;
    const logger = this.#parts.logger.child({ systemId });
    this.close(systemId, 'replaced by a newer connection');
    const session = new UnitSession({ systemId, socket, times, database, events, logger, now });
    const link: Link = { session, opened: false, desiredInFlight: false, desiredIsOld: true };
    this.#links.set(systemId, link);
    session.serve(
      new UnitMessageHandler({
        ...{ systemId, database, events, nodes, blobsUrl, now },
        // A unit that has gone meanwhile asks again when it comes.
        send: (message) => void (session.closed || session.send(message)),
        onFullStatus: () => this.#open(systemId, link),
        onNodesMoved: () => this.#nodesMoved(systemId, link),
      }),
    );
    socket.on('close', () => {
      if (this.#links.get(systemId) !== link) return;
      this.#links.delete(systemId);
      this.#seen(systemId);
      logger.info({}, 'a unit is offline');
      events.publish(systemId, 'disconnected');
    });
    this.#seen(systemId);
    logger.info({}, 'a unit is online');
    events.publish(systemId, 'connected');
  }

  isOnline(systemId: string): boolean {
    return this.#links.has(systemId);
  }

  /** Throws `wrongState` when the unit is offline. */
  session(systemId: string): UnitSession {
    const link = this.#links.get(systemId);
    if (!link) throw new AosError('wrongState', `unit ${systemId} is offline`);
    return link.session;
  }

  /**
   * Writes something that the unit is then told, so that what it is told last is what was written last. `tell` answers
   * the message; a unit that is offline is not told.
   */
  async writeAndTell<T>(systemId: string, write: () => Promise<T>, tell: (written: T) => CloudMessage): Promise<T> {
    const session = this.#links.get(systemId)?.session;
    if (!session) return write();
    return session.step(async () => {
      const written = await write();
      if (!session.closed) session.send(tell(written));
      return written;
    });
  }

  /** Sends a message and answers its txn. Throws `wrongState` when the unit is offline. */
  send(systemId: string, message: CloudMessage): string {
    return this.session(systemId).send(message).txn;
  }

  /** What is wanted of the unit has changed; it is told now, or when it comes. */
  desiredChanged(systemId: string): void {
    const link = this.#links.get(systemId);
    if (!link) return;
    link.desiredIsOld = true;
    this.#tellDesired(systemId, link);
  }

  /** The environment of instances has changed; the set replaces all earlier ones. */
  envVarsChanged(systemId: string): void {
    const link = this.#links.get(systemId);
    if (link?.opened) this.#tellEnvVars(systemId, link);
  }

  /** Sends the desired status again, changed or not. Throws `wrongState` when the unit is offline. */
  async resendDesired(systemId: string): Promise<string> {
    const session = this.session(systemId);
    return session.step(async () => session.send(await this.#desiredNow(systemId)).txn);
  }

  /** What the unit is to become, as it would be told now. */
  async desiredOf(stores: Stores, systemId: string): Promise<DesiredStatus> {
    const { items, units } = stores;
    const wanted = await wantedOn(stores, systemId);
    const versions = new Map(wanted.map(({ itemId, version }) => [itemId, version]));
    const published: PublishedItem[] = [];
    for (const [itemId, version] of versions) published.push(await items.get(itemId, version));
    const config = await wantedConfig(stores, systemId);
    return planDesiredStatus({
      deployments: wanted,
      subjects: await stores.subjects.ofUnit(systemId),
      items: published,
      wishes: { ...(await units.wishes(systemId)), ...(config && { unitConfig: config.config }) },
      picture: await units.picture(systemId),
      chains: await items.chainsOf(published),
    });
  }

  #desiredNow(systemId: string): Promise<DesiredStatus> {
    return this.#parts.database.read((stores) => this.desiredOf(stores, systemId));
  }

  close(systemId: string, reason: string): void {
    // Whoever waits to take the place of this link must not do so now: the unit may have been reset.
    this.#claims.get(systemId)?.close(CLOSE.policy, reason);
    const link = this.#links.get(systemId);
    if (!link) return;
    this.#links.delete(systemId);
    link.session.close(CLOSE.policy, reason);
    this.#seen(systemId);
    this.#parts.events.publish(systemId, 'disconnected', { reason });
  }

  /** Ends all links; a unit that does not answer the close frame in time is cut off. */
  async stop(): Promise<void> {
    for (const claim of this.#claims.values()) claim.terminate();
    const sessions = [...this.#links.values()].map(({ session }) => session);
    this.#links.clear();
    await Promise.all(sessions.map((session) => session.finish(CLOSE.goingAway, 'the cloud stops', STOP_PATIENCE_MS)));
  }

  #open(systemId: string, link: Link): void {
    if (link.opened) return;
    link.opened = true;
    this.#tellDesired(systemId, link);
    this.#tellEnvVars(systemId, link);
    this.#parts.onOpen?.(systemId);
  }

  /**
   * Units handle messages in parallel (spec/cloud-protocol.md 3.7): the next desired status leaves when the former was
   * acknowledged, so that an old one cannot overtake.
   */
  #tellDesired(systemId: string, link: Link): void {
    if (link.desiredInFlight) return;
    link.desiredInFlight = true;
    this.#sendDesired(systemId, link).catch((error) => this.#beginAnew(systemId, link, error));
  }

  /** Ends when the unit has acknowledged what is wanted, and nothing else was wanted meanwhile. */
  async #sendDesired(systemId: string, link: Link): Promise<void> {
    const { session } = link;
    try {
      while (link.opened && link.desiredIsOld && !session.closed) {
        const sent = await session.step(async () => {
          // What changes while this one is made makes it old again at once, and goes with the next one.
          link.desiredIsOld = false;
          const desired = await this.#desiredNow(systemId);
          if (session.closed) return undefined;
          const { acknowledged } = session.send(desired);
          this.#parts.events.publish(systemId, 'desired');
          // Not the promise itself: the step would wait for it.
          return { acknowledged };
        });
        await sent?.acknowledged;
      }
    } finally {
      // At once when the loop ends: a change right after it begins another one.
      link.desiredInFlight = false;
    }
  }

  /** What the unit is to become cannot be found out now: it is told when it comes again. */
  #beginAnew(systemId: string, link: Pick<Link, 'session'>, error: unknown): void {
    const { logger } = this.#parts;
    logger.error({ systemId, error: asAosError(error).message }, 'a unit could not be told what is wanted');
    link.session.close(CLOSE.failed, 'the cloud failed; come again');
  }

  /**
   * An order that came before the unit had told of the former one did not seem to change anything, and was not sent:
   * "resume" while "paused" was on its way. It is sent now. A unit that cannot follow does not change the state of its
   * node, and so is not asked again and again.
   */
  async #nodesMoved(systemId: string, link: Link): Promise<void> {
    const changes = await this.#parts.database.read(async ({ units }) =>
      nodesToChange(await units.wishes(systemId), await units.picture(systemId)),
    );
    if (changes.length === 0) return;
    link.desiredIsOld = true;
    this.#tellDesired(systemId, link);
  }

  #tellEnvVars(systemId: string, { session }: Link): void {
    session
      .step(async () => {
        const { envVars } = await this.#parts.database.read(({ units }) => units.wishes(systemId));
        if (envVars === undefined || session.closed) return;
        session.send({ messageType: 'overrideEnvVars', items: envVars } as CloudMessage);
      })
      .catch((error) => this.#beginAnew(systemId, { session }, error));
  }

  #seen(systemId: string): void {
    const { database, now } = this.#parts;
    const at = now();
    database.note('when a unit was seen', ({ units }) => units.setSeen(systemId, at));
  }
}
