/** The links of all units, and what goes out on them. */
import { randomUUID } from 'node:crypto';
import type { WebSocket } from 'ws';
import { AosError, asAosError, type Logger } from '../../core/index.ts';
import type { CloudMessage, DesiredStatus } from '../../protocol/index.ts';
import type { Cluster, Hold, Order } from '../cluster/cluster.ts';
import { wantedConfig, wantedOn } from '../domain/facts.ts';
import type { UnitEvents } from '../model/unit-events.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import type { PublishedItem } from '../store/items.ts';
import type { Stores } from '../store/stores.ts';
import { Claims } from './claims.ts';
import { CLOSE } from './close-codes.ts';
import { nodesToChange, planDesiredStatus } from './desired-status.ts';
import { type HandlerParts, UnitMessageHandler } from './message-handler.ts';
import type { NodeProvisioning } from './node-provisioning.ts';
import { type SentMessage, type SessionTimes, UnitSession } from './unit-session.ts';

/** How long a unit whose link is claimed by another machine may take to show that it is there. */
const MAX_PROBE_MS = 5000;
/** Of a message that is too large the operator hears once in a while: the unit ends each connection over it. */
const TELL_AGAIN_MS = 10 * 60_000;
/** How long a unit may take to answer a close frame when the cloud stops. */
const STOP_PATIENCE_MS = 1000;

export interface FleetParts {
  readonly database: CloudDatabase;
  readonly cluster: Cluster;
  readonly events: UnitEvents;
  readonly nodes: NodeProvisioning;
  readonly blobsUrl: () => string;
  readonly deltas?: HandlerParts['deltas'];
  /** Told when a unit has come and told of itself. */
  readonly onOpen?: (systemId: string) => void;
  readonly times: SessionTimes;
  readonly logger: Logger;
  readonly now: () => Date;
}

interface Link {
  readonly session: UnitSession;
  /** That it is here, and at no other process. */
  readonly hold: Hold;
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
  readonly #claims: Claims;
  /** When the operator was told last of a message that is too large for a unit. */
  readonly #tooLargeToldMs = new Map<string, number>();

  constructor(parts: FleetParts) {
    const { database, events, cluster, times, logger, now } = parts;
    this.#parts = parts;
    this.#claims = new Claims({
      ...{ database, events, cluster, logger, now },
      probeMs: Math.min(MAX_PROBE_MS, times.ackTimeoutMs),
      linkOf: (systemId) => this.#links.get(systemId)?.session,
      take: (systemId, socket, hold) => this.#take(systemId, socket, hold),
    });
  }

  /** Takes a new connection, or refuses it; resolves when that is decided, and never rejects. */
  accept(systemId: string, socket: WebSocket, from: string): Promise<void> {
    return this.#claims.accept(systemId, socket, from);
  }

  #take(systemId: string, socket: WebSocket, hold: Hold): void {
    const { database, events, nodes, blobsUrl, deltas, times, now } = this.#parts;
    const logger = this.#parts.logger.child({ systemId });
    this.#closeHere(systemId, 'replaced by a newer connection');
    const onTooLarge = (largest: SentMessage | undefined) => this.#tooLarge(systemId, largest);
    const session = new UnitSession({ systemId, socket, times, database, events, logger, now, onTooLarge });
    const link: Link = { session, hold, opened: false, desiredInFlight: false, desiredIsOld: true };
    this.#links.set(systemId, link);
    session.serve(
      new UnitMessageHandler({
        ...{ systemId, database, events, nodes, blobsUrl, deltas, logger, now },
        // A unit that has gone meanwhile asks again when it comes.
        send: (message) => void (session.closed || session.send(message)),
        onFullStatus: () => this.#open(systemId, link),
        onNodesMoved: () => this.#nodesMoved(systemId, link),
      }),
    );
    socket.on('close', () => {
      if (this.#links.get(systemId) !== link) return;
      this.#forget(systemId, link);
      this.#seen(systemId);
      logger.info({}, 'a unit is offline');
      events.publish(systemId, 'disconnected');
    });
    this.#seen(systemId);
    logger.info({}, 'a unit is online');
    events.publish(systemId, 'connected');
  }

  /** The unit will end each connection over it, so somebody must know why. */
  #tooLarge(systemId: string, largest: SentMessage | undefined): void {
    const { database, logger, now } = this.#parts;
    const what = largest ? `"${largest.messageType}" with ${largest.frame.length} bytes` : 'one that it acknowledged';
    const message =
      `the unit ended the connection: a message is too large for it. The largest that was on its way is ${what}; ` +
      'aos-cm reads messages of up to 8 MiB. Deploy less to this unit, or in several items.';
    logger.warn({ systemId, largest: what }, 'a message is too large for a unit, which ended the connection');
    const lastMs = this.#tooLargeToldMs.get(systemId);
    if (lastMs !== undefined && performance.now() - lastMs < TELL_AGAIN_MS) return;
    this.#tooLargeToldMs.set(systemId, performance.now());
    const at = now();
    database.note('an alert', ({ alerts }) => alerts.addOwn(systemId, { tag: 'cloudAlert', message }, at));
  }

  /** Whether a unit has a link, here or at another process. */
  isOnline(systemId: string): boolean {
    return this.isHere(systemId) || this.#parts.cluster.isElsewhere(systemId);
  }

  isHere(systemId: string): boolean {
    return this.#links.has(systemId);
  }

  /** Whether a unit answers on its link here within so many milliseconds. */
  async isAlive(systemId: string, timeoutMs: number): Promise<boolean> {
    return (await this.#links.get(systemId)?.session.isAlive(timeoutMs)) ?? false;
  }

  /** Throws `wrongState` when the unit has no link here. */
  session(systemId: string): UnitSession {
    return this.#linkOf(systemId).session;
  }

  /**
   * Does something between two messages of a unit, and sends what it gives to `send`, wherever the link is. Throws
   * `wrongState` when the unit is offline.
   */
  async converse<T>(systemId: string, work: (send: (message: CloudMessage) => void) => Promise<T>): Promise<T> {
    const { cluster } = this.#parts;
    if (this.isHere(systemId) || !cluster.isElsewhere(systemId)) {
      const session = this.session(systemId);
      return session.step(() => work((message) => void session.send(message)));
    }
    const messages: CloudMessage[] = [];
    const result = await work((message) => void messages.push(message));
    for (const message of messages) await cluster.order(systemId, { do: 'send', message, txn: randomUUID() });
    return result;
  }

  /**
   * Writes something that the unit is then told, so that what it is told last is what was written last (by one process).
   * `tell` answers the message; a unit that is offline is not told.
   */
  async writeAndTell<T>(systemId: string, write: () => Promise<T>, tell: (written: T) => CloudMessage): Promise<T> {
    const session = this.#links.get(systemId)?.session;
    if (session) {
      return session.step(async () => {
        const written = await write();
        if (!session.closed) session.send(tell(written));
        return written;
      });
    }
    const written = await write();
    try {
      await this.send(systemId, tell(written));
    } catch (error) {
      this.#parts.logger.debug({ systemId, error: asAosError(error).message }, 'a unit is told when it comes');
    }
    return written;
  }

  /** Sends a message and answers its txn. Throws `wrongState` when the unit is offline. */
  async send(systemId: string, message: CloudMessage): Promise<string> {
    const link = this.#links.get(systemId);
    if (link) return link.session.send(message).txn;
    const txn = randomUUID();
    await this.#parts.cluster.order(systemId, { do: 'send', message, txn });
    return txn;
  }

  /** What is wanted of the unit has changed; it is told now, or when it comes. */
  desiredChanged(systemId: string): void {
    const link = this.#links.get(systemId);
    if (link) this.#desiredIsOld(systemId, link);
    else this.#parts.cluster.tell(systemId, { do: 'tellDesired' });
  }

  /** The environment of instances has changed; the set replaces all earlier ones. */
  envVarsChanged(systemId: string): void {
    const link = this.#links.get(systemId);
    if (!link) this.#parts.cluster.tell(systemId, { do: 'tellEnvVars' });
    else if (link.opened) this.#tellEnvVars(systemId, link);
  }

  /** Sends the desired status again, changed or not. Throws `wrongState` when the unit is offline. */
  async resendDesired(systemId: string): Promise<string> {
    const txn = randomUUID();
    const link = this.#links.get(systemId);
    if (link) await this.#resend(link, txn);
    else await this.#parts.cluster.order(systemId, { do: 'resendDesired', txn });
    return txn;
  }

  /** Ends the link of a unit, wherever it is; and does not let one begin that waits. */
  close(systemId: string, reason: string): void {
    this.#claims.refuse(systemId, reason);
    if (this.isHere(systemId)) this.#closeHere(systemId, reason);
    else this.#parts.cluster.tell(systemId, { do: 'close', reason });
  }

  /** What another process wants of a link here. Throws `wrongState` when there is none. */
  async obey(systemId: string, order: Order): Promise<void> {
    if (order.do === 'close') this.#claims.refuse(systemId, order.reason);
    const link = this.#linkOf(systemId);
    const { session } = link;
    switch (order.do) {
      case 'tellDesired':
        this.#desiredIsOld(systemId, link);
        break;
      case 'tellEnvVars':
        if (link.opened) this.#tellEnvVars(systemId, link);
        break;
      case 'close':
        this.#closeHere(systemId, order.reason);
        break;
      case 'resendDesired':
        await this.#resend(link, order.txn);
        break;
      case 'send':
        await session.step(async () => void session.send(order.message, order.txn));
        break;
    }
  }

  /** These links are another process's now, or all of them nobody's: they end here. */
  lose(systemIds: readonly string[] | 'all'): void {
    for (const systemId of systemIds === 'all' ? [...this.#links.keys()] : systemIds) {
      const link = this.#links.get(systemId);
      // Where another process goes on, no unit is gone.
      if (link && systemIds !== 'all') this.#forget(systemId, link);
      link?.session.cut();
    }
  }

  /** All units here are told what is wanted of them, and those that are none any more leave: it may have changed unheard. */
  tellAll(): void {
    this.#tellAll().catch((error) => {
      const { logger } = this.#parts;
      logger.error({ error: asAosError(error).message }, 'it could not be found out what units here were not told');
    });
  }

  async #tellAll(): Promise<void> {
    const linked = [...this.#links];
    const units = await this.#parts.database.read((stores) => stores.units.list());
    const members = new Set(units.filter(({ status }) => status === 'provisioned').map(({ systemId }) => systemId));
    for (const [systemId, link] of linked) {
      if (this.#links.get(systemId) !== link) continue;
      if (!members.has(systemId)) {
        this.#closeHere(systemId, 'the unit was reset or deleted');
        continue;
      }
      this.#desiredIsOld(systemId, link);
      if (link.opened) this.#tellEnvVars(systemId, link);
    }
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

  #linkOf(systemId: string): Link {
    const link = this.#links.get(systemId);
    if (link) return link;
    const { cluster } = this.#parts;
    const where = cluster.isElsewhere(systemId) ? 'linked to another process of this cloud' : 'offline';
    throw new AosError('wrongState', `unit ${systemId} is ${where}`);
  }

  #forget(systemId: string, link: Link): void {
    this.#links.delete(systemId);
    link.hold.release();
  }

  #closeHere(systemId: string, reason: string): void {
    const link = this.#links.get(systemId);
    if (!link) return;
    this.#forget(systemId, link);
    link.session.close(CLOSE.policy, reason);
    this.#seen(systemId);
    this.#parts.events.publish(systemId, 'disconnected', { reason });
  }

  /** Ends all links; a unit that does not answer the close frame in time is cut off. */
  async stop(): Promise<void> {
    this.#claims.stop();
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
    this.#desiredIsOld(systemId, link);
  }

  #desiredIsOld(systemId: string, link: Link): void {
    link.desiredIsOld = true;
    this.#tellDesired(systemId, link);
  }

  #resend({ session }: Link, txn: string): Promise<void> {
    return session.step(async () => void session.send(await this.#desiredNow(session.systemId), txn));
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
