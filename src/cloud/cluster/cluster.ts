/** What the processes of one cloud do for each other (docs/decisions/0020-postgresql.md). */
import { AosError } from '../../core/index.ts';
import type { CloudMessage } from '../../protocol/index.ts';
import type { UnitEvent } from '../model/unit-events.ts';

/** What the process that holds the link of a unit is to do. */
export type Order =
  /** What is wanted of the unit has changed. */
  | { readonly do: 'tellDesired' }
  | { readonly do: 'tellEnvVars' }
  | { readonly do: 'close'; readonly reason: string }
  | { readonly do: 'resendDesired'; readonly txn: string }
  | { readonly do: 'send'; readonly message: CloudMessage; readonly txn: string };

/** The link of a unit, held by this process. */
export interface Hold {
  /** It is over. A later link of the same unit is untouched. */
  release(): void;
}

export interface Cluster {
  /** Whether there may be other processes; if not, nothing needs to be waited for. */
  readonly isShared: boolean;
  /** Whether no other process was alive when this one began: what it found unfinished, nobody will finish. */
  readonly wasAlone: boolean;
  /** From now on the member does what others ask of it, and hears of them. */
  start(member: Member): Promise<void>;
  /** Runs work that no other process does at the same time: it makes the keys of the authority. */
  exclusively<T>(work: () => Promise<T>): Promise<T>;
  /**
   * Takes the link of a unit for this process. Undefined when another one holds it and the unit answers there within so
   * many milliseconds; one that does not answer loses it.
   */
  claim(systemId: string, probeMs: number): Promise<Hold | undefined>;
  /** Whether another process holds the link of a unit. */
  isElsewhere(systemId: string): boolean;
  /**
   * Tells all others; the one that holds the link does it. So nobody is missed whose link is being taken right now; and
   * nobody waits for it.
   */
  tell(systemId: string, order: Order): void;
  /** Resolves when the process that holds the link has done it. Throws `wrongState` when none does, or does not answer. */
  order(systemId: string, order: Order): Promise<void>;
  /** Tells the others what has happened here. */
  publish(event: UnitEvent): void;
  /** Tells the others that somebody may see more or less than before. */
  accessChanged(): void;
  stop(): Promise<void>;
}

/** What a process does for the others. */
export interface Member {
  /** Whether the unit answers on its link here. */
  isAlive(systemId: string, probeMs: number): Promise<boolean>;
  /** Throws when the unit has no link here. */
  obey(systemId: string, order: Order): Promise<void>;
  /** Something has happened at another process. */
  hear(event: UnitEvent): void;
  /** Somebody may see more or less than before, as another process has decided. */
  accessChanged(): void;
  /** These links, or all of them, are another process's, or nobody's. */
  lose(systemIds: readonly string[] | 'all'): void;
  /** These units were linked to a process that is gone. */
  orphan(systemIds: readonly string[]): void;
  /** News may have been missed: whoever is linked here is told again what is wanted, and who may see what is looked at again. */
  catchUp(): void;
}

export const NOTHING_HELD: Hold = { release: () => undefined };

/** A cloud of one process. */
export class SingleProcess implements Cluster {
  readonly isShared = false;
  readonly wasAlone = true;

  async start(): Promise<void> {
    // Nobody asks, and there is nobody to be heard of.
  }

  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return work();
  }

  async claim(): Promise<Hold> {
    return NOTHING_HELD;
  }

  isElsewhere(): boolean {
    return false;
  }

  tell(): void {
    // There is nobody to be told.
  }

  async order(systemId: string): Promise<void> {
    throw new AosError('wrongState', `unit ${systemId} is offline`);
  }

  publish(): void {
    // There is nobody to be told.
  }

  accessChanged(): void {
    // There is nobody to be told.
  }

  async stop(): Promise<void> {
    // Nothing lives here.
  }
}
