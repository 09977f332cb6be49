/** How each instance does, and why; whoever wants is told of each change (spec/decisions.md 5.1, T-20). */
import { EventEmitter } from 'node:events';
import {
  type ErrorInfo,
  type InstanceIdent,
  type InstanceState,
  instanceKey,
  shortenMessage,
  toErrorInfo,
} from '../../core/index.ts';
import type { InstanceInfo, InstanceStatus } from '../model.ts';

/** Words of a runtime are bounded elsewhere; this is for whatever is not. */
const MAX_REASON_BYTES = 2048;

export interface BoardEntry {
  readonly status: InstanceStatus;
  /** A sentence for people. */
  readonly because: string;
}

/** An error as the runtime tells it, or as it was thrown. */
export type Failure = ErrorInfo | Error | undefined;

export class StatusBoard {
  readonly #entries = new Map<string, BoardEntry>();
  readonly #events = new EventEmitter<{ change: [BoardEntry] }>();

  /** States an instance of this description; a state that it has already changes nothing. */
  set(info: InstanceInfo, state: InstanceState, because: string, failure?: Failure): void {
    const error = failure instanceof Error ? toErrorInfo(failure) : failure;
    const status: InstanceStatus = {
      ident: info.ident,
      version: info.version,
      runtimeId: info.runtimeId,
      manifestDigest: info.manifestDigest,
      state,
      ...(error ? { error } : {}),
      envVars: info.envVars.map(({ name }) => ({ name })),
    };
    this.#put(status, failure instanceof Error ? failure.message : because);
  }

  /** A new state of an instance that is on the board; others are ignored. */
  change(ident: InstanceIdent, state: InstanceState, because: string, error?: ErrorInfo): void {
    const entry = this.#entries.get(instanceKey(ident));
    if (!entry) return;
    const { error: _, ...rest } = entry.status;
    this.#put({ ...rest, state, ...(error ? { error } : {}) }, because);
  }

  get(ident: InstanceIdent): BoardEntry | undefined {
    return this.#entries.get(instanceKey(ident));
  }

  remove(ident: InstanceIdent): void {
    this.#entries.delete(instanceKey(ident));
  }

  entries(): BoardEntry[] {
    return [...this.#entries.values()];
  }

  statuses(): InstanceStatus[] {
    return this.entries().map(({ status }) => status);
  }

  onChange(listener: (entry: BoardEntry) => void): () => void {
    this.#events.on('change', listener);
    return () => this.#events.off('change', listener);
  }

  #put({ reason: _, ...told }: InstanceStatus, because: string): void {
    const key = instanceKey(told.ident);
    const isMore = told.error !== undefined && because !== told.error.message;
    const status = isMore ? { ...told, reason: shortenMessage(because, MAX_REASON_BYTES) } : told;
    const before = this.#entries.get(key)?.status;
    this.#entries.set(key, { status, because });
    if (before && sameStatus(before, status)) return;
    this.#events.emit('change', { status, because });
  }
}

function sameStatus(a: InstanceStatus, b: InstanceStatus): boolean {
  return (
    a.state === b.state &&
    a.version === b.version &&
    a.runtimeId === b.runtimeId &&
    a.manifestDigest === b.manifestDigest &&
    a.error?.aosCode === b.error?.aosCode &&
    a.error?.exitCode === b.error?.exitCode &&
    a.error?.message === b.error?.message
  );
}
