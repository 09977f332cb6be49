/** What the container runtime takes from and gives to the rest of the SM. */
import type { ErrorInfo, InstanceIdent, InstanceState } from '../../core/index.ts';
import type { ProcessIdentity } from '../../platform/proc/index.ts';
import type { InstalledItem, InstanceInfo, InstanceNetwork, OciMount } from '../model.ts';
import type { LiveProbe, RunParameters, StartProbe } from '../supervision/index.ts';

/** A change of an instance's state with its reason. */
export interface InstanceChange {
  readonly ident: InstanceIdent;
  readonly state: InstanceState;
  readonly error?: ErrorInfo | undefined;
  readonly because: string;
  /** What is not seen from the state: it is not active yet, or it has done its work. */
  readonly milestone?: 'process runs' | 'completed' | undefined;
  /** It ended by itself. */
  readonly crash?:
    | {
        /** Exit status; 128 + signal; -1: unknown, or it did not come to run. */
        readonly status: number;
        readonly outOfMemory: boolean;
        readonly gaveUp: boolean;
      }
    | undefined;
}

/** A container that outlived the SM, or ended while the SM was away. */
export interface AdoptedInstance extends InstanceChange {
  readonly id: string;
  readonly pid?: number | undefined;
  /** It was registered at IAM. */
  readonly hasPermissions: boolean;
}

/** An instance that the runtime holds. */
export interface RunningInstance {
  readonly id: string;
  readonly itemId: string;
  readonly subjectId: string;
  readonly instance: number;
  readonly version: string;
  readonly pid?: number | undefined;
  readonly state: InstanceState;
  readonly error?: ErrorInfo | undefined;
  readonly because: string;
  readonly bundleDir: string;
  readonly logFile: string;
  readonly cgroupPath: string;
  /** ISO 8601, wall clock. */
  readonly startedAt?: string | undefined;
  /** Automatic restarts since the start. */
  readonly restarts: number;
}

/** Root of a container, before it is mounted. */
export interface RootRequest {
  readonly id: string;
  readonly bundleDir: string;
  readonly item: InstalledItem;
  /** What will be mounted in the container: each needs a mount point. */
  readonly mounts: readonly OciMount[];
  readonly network: Omit<InstanceNetwork, 'netnsPath'>;
}

export interface PreparedRoot {
  /** Where the root is on the host. */
  readonly path: string;
  /** Mounts of parts of the root; they come before all others. */
  readonly mounts: readonly OciMount[];
}

/** Makes and removes root file systems. Removing what is not there is no error. */
export interface ContainerRoots {
  prepare(request: RootRequest, signal: AbortSignal): Promise<PreparedRoot>;
  remove(id: string, bundleDir: string, signal: AbortSignal): Promise<void>;
}

/**
 * How to supervise an instance, kept in its bundle, so that a later SM supervises it in the same way. The bundle is on
 * a file system that a power cut empties, as it ends the container.
 */
export interface LaunchRecord {
  readonly info: InstanceInfo;
  readonly run: RunParameters;
  /** `never`: an exit with status 0 is the end, not a failure. */
  readonly restart: 'always' | 'never';
  readonly stopSignal: number;
  readonly stopTimeoutMs: number;
  readonly ramLimit?: number | undefined;
  readonly probe?: StartProbe | undefined;
  readonly live?: LiveProbe | undefined;
  readonly netnsPath?: string | undefined;
  readonly hasPermissions: boolean;
  /** The first process, once it was started. */
  readonly process?: ProcessIdentity | undefined;
  readonly startedAt?: string | undefined;
  /** Its start probe succeeded in this run. */
  readonly isReady?: boolean | undefined;
  readonly restarts: number;
}
