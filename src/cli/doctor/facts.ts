/** What `aosctl doctor` knows of a node before it judges (spec/beyond.md P-08). Plain data. */
import type { UnitReport } from '../../daemon/index.ts';

export const DAEMONS = ['aos-iam', 'aos-cm', 'aos-sm'] as const;
export type DaemonName = (typeof DAEMONS)[number];

export interface DaemonFact {
  readonly name: DaemonName;
  readonly socket: string;
  /** `absent`: nobody listens; `refused`: we may not ask; `failed`: another error. */
  readonly state: 'answers' | 'absent' | 'refused' | 'failed';
  /** The error, when it does not answer. */
  readonly error?: string;
  /** This node has no configuration of it, as further nodes of a unit have none of the CM. */
  readonly isForeign?: true;
}

/** How a daemon of this node does with its partner on the main node. */
export interface MainLinkFact {
  readonly daemon: DaemonName;
  readonly to: string;
  readonly isConnected: boolean;
  /** Why it is not, or was not before. */
  readonly error?: string;
}

export interface CertificateFact {
  readonly type: string;
  /** ISO 8601. */
  readonly notAfter: string;
  readonly current: boolean;
}

/** A port that a daemon of this node wants and somebody listens on. */
export interface PortFact {
  readonly daemon: DaemonName;
  /** Member of the configuration that names it. */
  readonly key: string;
  readonly port: number;
  /** Absent: we may not see who it is. */
  readonly holder?: { readonly pid: number; readonly command: string };
}

/** A token that holds keys of this node. */
export interface TokenFact {
  readonly name: string;
  readonly library: string;
  readonly pinFile: string;
  readonly state:
    | 'fine'
    | 'no pin'
    | 'closed pin'
    | 'empty pin'
    | 'wrong pin'
    | 'locked pin'
    | 'no library'
    | 'no token'
    | 'failed';
  readonly detail?: string;
  /** That IAM would find in it; absent when it was not opened. */
  readonly certificates?: readonly KeptCertificate[];
}

/** A certificate with its key, in a token or a file. */
export interface KeptCertificate {
  readonly type: string;
  /** ISO 8601. */
  readonly notAfter: string;
}

/** A directory that holds keys of this node as files. */
export interface KeyDirectoryFact {
  readonly path: string;
  /** Certificate types that have their keys there. */
  readonly types: readonly string[];
  /** `closed`: we may not look. `foreign`: of another user than ours, which IAM would refuse. `mode`: octal. */
  readonly state:
    | { readonly is: 'fine' | 'absent' | 'closed' | 'no directory' }
    | { readonly is: 'shared'; readonly mode: string }
    | { readonly is: 'foreign'; readonly uid: number };
  /** Empty when the directory is no good. */
  readonly keys: readonly KeyFact[];
}

export interface KeyFact {
  readonly type: string;
  /** Of the key. */
  readonly path: string;
  /** When the certificate ends that the key belongs to, ISO 8601; absent when there is none. */
  readonly notAfter?: string;
  readonly state:
    | { readonly is: 'fine' | 'absent' | 'no file' | 'other certificate' }
    | { readonly is: 'exposed'; readonly mode: string }
    | { readonly is: 'foreign'; readonly uid: number }
    | { readonly is: 'unreadable' | 'damaged'; readonly detail: string };
}

/** A directory of the daemons and the file system that it lies on. */
export interface PlaceFact {
  readonly what: string;
  readonly path: string;
  /** Absent: the directory does not exist. */
  readonly space?: {
    readonly totalBytes: number;
    readonly freeBytes: number;
    /** 0 to 1; 1 for file systems that do not count files. */
    readonly freeFiles: number;
    readonly isWritable: boolean;
    /** Whether quotas of users are switched on. */
    readonly hasQuotas: boolean;
  };
}

/** A policy of SELinux that the kernel has. */
export interface SelinuxFact {
  /** What it forbids is not done; else it is done, and logged. */
  readonly isEnforced: boolean;
  /** Directories of the daemons that have no label. */
  readonly unlabelled: readonly string[];
}

export interface ConfigFact {
  readonly path: string;
  /** Where configurations were looked for: none could be read. */
  readonly isDirectory?: true;
  /** Why it cannot be used; absent when it can. */
  readonly problem?: string;
}

export interface Facts {
  /** The wall clock, milliseconds since 1970. */
  readonly nowMs: number;
  /** When the daemons last wrote something: the clock was not behind it. Absent: they never did. */
  readonly lastWriteMs?: number;
  readonly isRoot: boolean;
  /** `x.y.z-…`. */
  readonly kernel: string;
  readonly fileSystems: readonly string[];
  /** Controllers that containers can be limited by, in whichever version. */
  readonly controllers: readonly string[];
  /** Programs that were found. */
  readonly programs: readonly string[];
  /** Kinds of network devices that the kernel makes; absent when it could not be tried. */
  readonly devices?: readonly string[];
  /** Absent: the kernel has none. */
  readonly selinux?: SelinuxFact;
  readonly daemons: readonly DaemonFact[];
  readonly mainLinks: readonly MainLinkFact[];
  readonly unit?: UnitReport;
  /** `provisioning` on a blank node. */
  readonly iamMode?: string;
  /** As IAM tells, or what it would find while it is away. */
  readonly certificates: readonly CertificateFact[];
  readonly configs: readonly ConfigFact[];
  readonly ports: readonly PortFact[];
  readonly tokens: readonly TokenFact[];
  readonly keyDirectories: readonly KeyDirectoryFact[];
  readonly places: readonly PlaceFact[];
  /** Databases that were set aside because they were damaged. */
  readonly setAside: readonly string[];
}
