/** News of units, for those who follow them. */
import { asAosError, type Logger } from '../../core/index.ts';

export type UnitEventKind =
  | 'connected'
  | 'disconnected'
  | 'status'
  | 'desired'
  | 'acknowledged'
  | 'unacknowledged'
  | 'refused'
  | 'deployment'
  | 'registered'
  | 'reset'
  | 'deleted'
  | 'alerts'
  | 'monitoring'
  | 'log'
  | 'state'
  | 'certificates'
  | 'node'
  | 'envVars'
  /** Two machines claim to be this unit. */
  | 'conflict'
  | 'subjects';

export interface UnitEvent {
  readonly systemId: string;
  readonly at: string;
  readonly event: UnitEventKind;
  readonly data: Readonly<Record<string, unknown>>;
}

export type UnitEventListener = (event: UnitEvent) => void;

/** Of this process, and where several serve one cloud, of the others. */
export class UnitEvents {
  readonly #ownListeners = new Set<UnitEventListener>();
  readonly #followers = new Set<UnitEventListener>();
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Whoever fails to listen hinders neither the others nor what has happened. */
  publish(systemId: string, event: UnitEventKind, data: Readonly<Record<string, unknown>> = {}): void {
    this.#logger.debug({ systemId, event, ...data }, 'news of a unit');
    const news: UnitEvent = { systemId, at: new Date().toISOString(), event, data };
    this.#tell(this.#ownListeners, news);
    this.#tell(this.#followers, news);
  }

  /** Something that another process has published, and acted upon. */
  receive(news: UnitEvent): void {
    this.#tell(this.#followers, news);
  }

  /** For whoever acts upon what happens at this process; answers the function that ends it. */
  subscribe(listener: UnitEventListener): () => void {
    this.#ownListeners.add(listener);
    return () => this.#ownListeners.delete(listener);
  }

  /** For whoever wants to know all that happens, wherever; answers the function that ends it. */
  follow(listener: UnitEventListener): () => void {
    this.#followers.add(listener);
    return () => this.#followers.delete(listener);
  }

  #tell(listeners: ReadonlySet<UnitEventListener>, news: UnitEvent): void {
    for (const listener of listeners) {
      try {
        listener(news);
      } catch (error) {
        const { systemId, event } = news;
        this.#logger.error({ systemId, event, error: asAosError(error).message }, 'a follower of news failed');
      }
    }
  }
}
