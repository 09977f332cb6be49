/** What those who start and stop instances work with, and what they remember. */
import type { AosError, InstanceIdent, Logger } from '../../core/index.ts';
import type { InstalledItem, InstanceInfo } from '../model.ts';
import type { Dependency } from './dependencies.ts';
import type { InstanceRows } from './instance-rows.ts';
import type { Images, Networks, Permissions, Runtime } from './parts.ts';
import type { StartGate } from './start-gate.ts';
import type { StatusBoard } from './status-board.ts';

export interface RunnerParts {
  readonly rows: InstanceRows;
  readonly runtimes: ReadonlyMap<string, Runtime>;
  readonly images: Images;
  readonly networks: Networks;
  readonly permissions: Permissions;
  readonly board: StatusBoard;
  readonly gate: StartGate;
  readonly logger: Logger;
  /** Whether it must not run now, with the reason; asked when its item is known. */
  readonly mayNotRun: (info: InstanceInfo, item: InstalledItem) => string | undefined;
  /** Hears why an instance could not be started, each time. */
  readonly onStartFailed?: ((ident: InstanceIdent, error: AosError) => void) | undefined;
}

/** What the launcher remembers of its instances; by key. */
export interface InstanceRecords {
  /** Instances with a container, or with one that failed, as they were started. */
  readonly running: Map<string, InstanceInfo>;
  /** Items of instances that run or ran. */
  readonly items: Map<string, InstalledItem>;
  /** What instances wait for that were not started because of it. */
  readonly held: Map<string, readonly Dependency[]>;
  /** Networks of those that failed and that their runtime does not hold any more. */
  takeDownFailed(infos: readonly InstanceInfo[], signal: AbortSignal): Promise<void>;
  /** A step whose failure must not keep the others from being done; it is told. */
  attempt<T>(doing: string, work: () => Promise<T>): Promise<T | undefined>;
}
