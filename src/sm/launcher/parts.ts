/** What the launcher needs of its neighbours; they fulfil it, tests have their own. */
import type { AosError, ErrorInfo, InstanceIdent, InstanceState, ItemIdent } from '../../core/index.ts';
import type { InstalledItem, InstanceInfo, InstanceNetwork, StartRequest } from '../model.ts';

export interface Images {
  /** Everything of the item is on this node afterwards; fast when it was already. */
  install(
    item: Pick<InstalledItem, 'itemId' | 'type' | 'version' | 'manifestDigest'>,
    signal: AbortSignal,
  ): Promise<InstalledItem>;
  /** Versions on this node that were not removed. */
  installed(): readonly ItemIdent[];
  /** Nobody uses this version any more; `notFound` when it is unknown. */
  remove(itemId: string, version: string): Promise<void> | void;
}

/** A change that a runtime saw: an exit, a restart, a probe. */
export interface InstanceChange {
  readonly ident: InstanceIdent;
  readonly state: InstanceState;
  readonly error?: ErrorInfo | undefined;
  readonly because: string;
  /** What is not seen from the state: it is not active yet, or it has done its work. */
  readonly milestone?: 'process runs' | 'completed' | undefined;
}

/** Something that is there without being asked for, told under a name of the node's own. */
export interface StandingInstance extends Omit<InstanceChange, 'ident' | 'milestone'> {
  readonly info: InstanceInfo;
}

/** A container that outlived the SM, or ended while the SM was away. */
export type AdoptedInstance = InstanceChange;

/**
 * What runs instances of one type: containers here, and whatever else a node has, such as guests of a hypervisor. It is
 * the whole contract of an adapter: the launcher knows no more of it. The tests of the launcher run against a double of it.
 */
export interface Runtime {
  readonly runtimeId: string;
  readonly type: string;
  /** Which kind of items. Absent: services. */
  readonly runs?: 'services' | 'components';
  /**
   * Takes over what runs of the known instances, each as it was started, and removes everything else of its own
   * (spec/decisions.md 5.6).
   */
  adopt(
    known: readonly InstanceInfo[],
    items: ReadonlyMap<string, InstalledItem>,
    signal: AbortSignal,
  ): Promise<readonly AdoptedInstance[]>;
  /** Resolves when the instance is active. */
  start(request: StartRequest, signal: AbortSignal): Promise<void>;
  /** By instance id; `notFound` when nothing of it is there. */
  stop(id: string, signal: AbortSignal): Promise<void>;
  /**
   * Something of the instance runs, or will be started again by this runtime without being asked. What failed to start and
   * is not held has nothing left on the node, and its network is taken down.
   */
  holds(id: string): boolean;
  /** The instance is gone for good: what is remembered of it goes too. */
  forget(id: string): void;
  /** Exits, restarts and probes, as they happen. */
  onChange(listener: (change: InstanceChange) => void): () => void;
  /**
   * What is on the node without being wanted by the CM, such as firmware that came with it (spec/sm.md 4.4, 6). Absent:
   * there is never anything.
   */
  standing?(): readonly StandingInstance[];
  /** That became another one by itself. Absent: it changes with what is told by `onChange` only. */
  onStanding?(listener: () => void): () => void;
  /** An instance takes effect with the next boot of the node only. Absent: it never does so here. */
  onReboot?(listener: (because: string) => void): () => void;
}

export interface NetworkRequest {
  readonly info: InstanceInfo;
  readonly item: InstalledItem;
}

/** Networks of instances by instance id. Each call is one batch; what fails for one does not hold up the others. */
export interface Networks {
  /** Known instances whose containers may be running; everything else of ours is removed. */
  adopt(running: readonly NetworkRequest[], signal: AbortSignal): Promise<void>;
  start(
    requests: readonly NetworkRequest[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, InstanceNetwork | AosError>>;
  /** Takes them down; the addresses stay theirs. */
  stop(ids: readonly string[], signal: AbortSignal): Promise<void>;
  /** They are gone for good. */
  release(idents: readonly InstanceIdent[], signal: AbortSignal): Promise<void>;
}

export type ItemPermissions = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** Permissions of instances at functional servers, kept by IAM (spec/sm.md 1.8). */
export interface Permissions {
  /** Answers the secret that the instance shows. */
  register(ident: InstanceIdent, permissions: ItemPermissions, signal: AbortSignal): Promise<string>;
  unregister(ident: InstanceIdent, signal: AbortSignal): Promise<void>;
}
