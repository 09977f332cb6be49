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

export class UnitEvents {
  readonly #listeners = new Set<UnitEventListener>();
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Whoever fails to listen hinders neither the others nor what has happened. */
  publish(systemId: string, event: UnitEventKind, data: Readonly<Record<string, unknown>> = {}): void {
    this.#logger.debug({ systemId, event, ...data }, 'news of a unit');
    const news: UnitEvent = { systemId, at: new Date().toISOString(), event, data };
    for (const listener of this.#listeners) {
      try {
        listener(news);
      } catch (error) {
        this.#logger.error({ systemId, event, error: asAosError(error).message }, 'a follower of news failed');
      }
    }
  }

  /** Answers the function that ends it. */
  subscribe(listener: UnitEventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
