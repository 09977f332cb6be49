/** What the modules of the CM see of the cloud (spec/cm.md 7.8). */
import type { CloudMessage, CloudMessageType, RefusedEntry, UnitMessage } from '../../protocol/index.ts';
import { LINK } from '../numbers.ts';

/**
 * `discovering`, `connecting`, `opening` (the full unit status is being handed over), `connected`, `waiting` (for the
 * next attempt), `stopped`.
 */
export type LinkState = 'stopped' | 'waiting' | 'discovering' | 'connecting' | 'opening' | 'connected';

export interface LinkReport {
  readonly state: LinkState;
  readonly url?: string;
  /** Since when it has been in this state; ISO 8601. */
  readonly since: string;
  /** Why the last attempt failed or the last session ended; absent while all is well. */
  readonly lastError?: string;
  /** What kind of failure that was, for programs: the code of the system, of OpenSSL, else of aoscore. */
  readonly lastErrorCode?: string;
}

export interface SendOptions {
  /** The message survives a restart of the CM until the cloud has acknowledged it. */
  readonly durable?: boolean;
  /** An older message with the same key that is not acknowledged yet is dropped. */
  readonly replaces?: string;
  /** The cloud has acknowledged it; not called when the CM restarts meanwhile. */
  readonly onAcknowledged?: () => void;
}

/** What a handler may want to know beside the message. */
export interface Received {
  readonly txn: string;
  /** When the cloud made it, by its own clock; undefined when its header does not say so. */
  readonly createdAt?: string | undefined;
  /** Entries that were left out of the message because they are bad. */
  readonly refused: readonly RefusedEntry[];
}

/** Messages of the cloud that modules handle; receipts are the link's own. */
export type HandledType = Exclude<CloudMessageType, 'ack' | 'nack'>;

export type Handler<T extends HandledType> = (
  message: Extract<CloudMessage, { messageType: T }>,
  received: Received,
) => Promise<void> | void;

export interface CloudLinkApi {
  readonly state: LinkReport;
  /** The full unit status that opens a session has been handed over. */
  readonly connected: boolean;
  /** Never waits. A unit status is dropped while there is no session: the next one opens with a full status. */
  send(message: UnitMessage, options?: SendOptions): void;
  /**
   * Waits for the link, sends, and waits for the answer with the same correlation id; asks anew in the next session when
   * one ends before the answer. Throws `timeout` after
   * `cloudResponseWaitTimeout` of one session, `canceled` when the signal aborts or the link stops.
   */
  request(message: UnitMessage & { readonly correlationId: string }, signal: AbortSignal): Promise<CloudMessage>;
  /** Messages of one type are handled one after another in order of arrival (spec/decisions.md C-16). */
  handle<T extends HandledType>(type: T, handler: Handler<T>): void;
  /** Tells of each change of `connected`; returns the function that ends it. */
  onConnection(listener: (connected: boolean) => void): () => void;
  /** Builds the full unit status that opens each session; `onAcknowledged`: the cloud has it. */
  setOpening(make: () => Promise<UnitMessage | undefined>, onAcknowledged?: (message: UnitMessage) => void): void;
  start(): void;
  stop(): Promise<void>;
}

/** The numbers of the link; tests have faster ones. */
export type LinkNumbers = { readonly [K in keyof typeof LINK]: number };

export const linkNumbers: LinkNumbers = LINK;
