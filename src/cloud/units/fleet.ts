/** The links of all units, and what goes out on them. */
import type { WebSocket } from 'ws';
import { AosError, asAosError, type Logger } from '../../core/index.ts';
import type { CloudMessage, DesiredStatus } from '../../protocol/index.ts';
import { wantedConfig, wantedOn } from '../domain/facts.ts';
import type { Stores } from '../store/open-stores.ts';
import { nodesToChange, planDesiredStatus } from './desired-status.ts';
import type { UnitEvents } from './events.ts';
import { type HandlerParts, UnitMessageHandler } from './message-handler.ts';
import type { NodeProvisioning } from './node-provisioning.ts';
import { type SentMessage, type SessionTimes, UnitSession } from './unit-session.ts';

/** Codes of close frames. */
const CLOSE = { goingAway: 1001, policy: 1008, failed: 1011 } as const;

/** How long a unit whose link is claimed by another machine may take to show that it is there. */
const MAX_PROBE_MS = 5000;
/** Of what happens with each connection of a unit the operator hears once in a while, however often it tries. */
const TELL_AGAIN_MS = 10 * 60_000;

/** How long a unit may take to answer a close frame when the cloud stops. */
const STOP_PATIENCE_MS = 1000;

export interface FleetParts {
  readonly stores: Stores;
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
  /** The unit has told of itself on this link, and so takes a desired status. */
  opened: boolean;
  /** A desired status is on its way. */
  desiredInFlight: boolean;
  /** What is wanted has changed since the last desired status left. */
  desiredIsOld: boolean;
}

export class Fleet {
  readonly #parts: FleetParts;
  readonly #links = new Map<string, Link>();
  /** Connections that wait until it is known whether the former one of their unit is alive. */
  readonly #claims = new Map<string, WebSocket>();
  /** When the operator was told last, by what it was about. */
  readonly #toldMs = new Map<string, number>();

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
      .then((alive) => {
        this.#claims.delete(systemId);
        socket.resume();
        if (alive && this.#links.get(systemId) === link) this.#refuse(systemId, socket, from);
        else if (socket.readyState === socket.OPEN) this.#take(systemId, socket);
      })
      .catch((error) => {
        this.#parts.logger.error({ systemId, error: asAosError(error).message }, 'a connection could not be taken');
        socket.terminate();
      });
  }

  #refuse(systemId: string, socket: WebSocket, from: string): void {
    const { stores, events, logger, now } = this.#parts;
    socket.close(CLOSE.policy, 'a unit with this identity is connected already');
    logger.warn({ systemId, from }, 'two machines claim to be one unit; the second one is refused');
    if (this.#wasToldOf(`two machines of ${systemId}`)) return;
    const message =
      `another machine at ${from} shows the certificate of this unit while it is connected; ` +
      'it was refused. Is its disk a copy? Reset the unit and provision both anew.';
    stores.alerts.addOwn(systemId, { tag: 'cloudAlert', message }, now());
    events.publish(systemId, 'conflict', { from });
  }

  #take(systemId: string, socket: WebSocket): void {
    const { stores, events, nodes, blobsUrl, deltas, times, now } = this.#parts;
    const logger = this.#parts.logger.child({ systemId });
    this.close(systemId, 'replaced by a newer connection');
    const onTooLarge = (largest: SentMessage | undefined) => this.#tooLarge(systemId, largest);
    const log = stores.messages;
    const session = new UnitSession({ systemId, socket, times, log, events, logger, now, onTooLarge });
    const link: Link = { session, opened: false, desiredInFlight: false, desiredIsOld: true };
    this.#links.set(systemId, link);
    session.serve(
      new UnitMessageHandler({
        ...{ systemId, stores, events, nodes, blobsUrl, deltas, now },
        send: (message) => void session.send(message),
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

  /** The unit will end each connection over it, so somebody must know why. */
  #tooLarge(systemId: string, largest: SentMessage | undefined): void {
    const { stores, logger, now } = this.#parts;
    const what = largest ? `"${largest.messageType}" with ${largest.frame.length} bytes` : 'one that it acknowledged';
    const message =
      `the unit ended the connection: a message is too large for it. The largest that was on its way is ${what}; ` +
      'aos-cm reads messages of up to 8 MiB. Deploy less to this unit, or in several items.';
    logger.warn({ systemId, largest: what }, 'a message is too large for a unit, which ended the connection');
    if (!this.#wasToldOf(`a large message to ${systemId}`))
      stores.alerts.addOwn(systemId, { tag: 'cloudAlert', message }, now());
  }

  #wasToldOf(what: string): boolean {
    const lastMs = this.#toldMs.get(what);
    if (lastMs !== undefined && performance.now() - lastMs < TELL_AGAIN_MS) return true;
    this.#toldMs.set(what, performance.now());
    return false;
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

  /** Sends a message and answers its txn. Throws `wrongState` when the unit is offline. */
  send(systemId: string, message: CloudMessage): string {
    return this.session(systemId).send(message).txn;
  }

  /** What is wanted of the unit has changed; it is told now, or when it comes. */
  desiredChanged(systemId: string): void {
    const link = this.#links.get(systemId);
    if (!link) return;
    link.desiredIsOld = true;
    this.#sendDesired(systemId, link);
  }

  /** The environment of instances has changed; the set replaces all earlier ones. */
  envVarsChanged(systemId: string): void {
    const link = this.#links.get(systemId);
    if (link?.opened) this.#sendEnvVars(systemId, link);
  }

  /** Sends the desired status again, changed or not. Throws `wrongState` when the unit is offline. */
  resendDesired(systemId: string): string {
    return this.send(systemId, this.desiredOf(systemId));
  }

  /** What the unit is to become, as it would be told now. */
  desiredOf(systemId: string): DesiredStatus {
    const { stores } = this.#parts;
    const { items, units } = stores;
    const wanted = wantedOn(stores, systemId);
    const versions = new Map(wanted.map(({ itemId, version }) => [itemId, version]));
    const published = [...versions].map(([itemId, version]) => items.get(itemId, version));
    const config = wantedConfig(stores, systemId);
    return planDesiredStatus({
      deployments: wanted,
      subjects: stores.subjects.ofUnit(systemId),
      items: published,
      wishes: { ...units.wishes(systemId), ...(config && { unitConfig: config.config }) },
      picture: units.picture(systemId),
      chains: items.chainsOf(published),
    });
  }

  close(systemId: string, reason: string): void {
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
    try {
      this.#sendDesired(systemId, link);
      this.#sendEnvVars(systemId, link);
      this.#parts.onOpen?.(systemId);
    } catch (error) {
      this.#beginAnew(systemId, link, error);
    }
  }

  /**
   * Units handle messages in parallel (spec/cloud-protocol.md 3.7): the next desired status leaves when the former was
   * acknowledged, so that an old one cannot overtake.
   */
  #sendDesired(systemId: string, link: Link): void {
    if (!link.opened || !link.desiredIsOld || link.desiredInFlight || link.session.closed) return;
    const desired = this.desiredOf(systemId);
    link.desiredIsOld = false;
    link.desiredInFlight = true;
    const { acknowledged } = link.session.send(desired);
    this.#parts.events.publish(systemId, 'desired');
    acknowledged
      .then(() => {
        link.desiredInFlight = false;
        this.#sendDesired(systemId, link);
      })
      .catch((error) => this.#beginAnew(systemId, link, error));
  }

  /** What the unit is to become cannot be found out now: it is told when it comes again. */
  #beginAnew(systemId: string, link: Link, error: unknown): void {
    const { logger } = this.#parts;
    logger.error({ systemId, error: asAosError(error).message }, 'a unit could not be told what is wanted');
    link.session.close(CLOSE.failed, 'the cloud failed; come again');
  }

  /**
   * An order that came before the unit had told of the former one did not seem to change anything, and was not sent:
   * "resume" while "paused" was on its way. It is sent now. A unit that cannot follow does not change the state of its
   * node, and so is not asked again and again.
   */
  #nodesMoved(systemId: string, link: Link): void {
    const { units } = this.#parts.stores;
    if (nodesToChange(units.wishes(systemId), units.picture(systemId)).length === 0) return;
    link.desiredIsOld = true;
    this.#sendDesired(systemId, link);
  }

  #sendEnvVars(systemId: string, link: Link): void {
    const { envVars } = this.#parts.stores.units.wishes(systemId);
    if (envVars === undefined || link.session.closed) return;
    link.session.send({ messageType: 'overrideEnvVars', items: envVars } as CloudMessage);
  }

  #seen(systemId: string): void {
    const { stores, now } = this.#parts;
    stores.group.note('when a unit was seen', () => stores.units.setSeen(systemId, now()));
  }
}
