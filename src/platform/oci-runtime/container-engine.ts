/** What starts and removes containers. No policy: who calls decides when and why. */
import type { ExecResult } from '../program/index.ts';

export interface RunRequest {
  readonly id: string;
  /** Holds `config.json`; pid file and sockets of the helper come here too. */
  readonly bundleDir: string;
  /** Exists; gets the file `<id>` with the exit status when the first process has ended. */
  readonly exitDir: string;
  /** File of the log; its directory exists. Not used with the journal. */
  readonly logFile: string;
}

export interface ContainerEngine {
  /** `crun` or `runc`. */
  readonly name: string;
  /** Creates and starts; answers the process number of the first process. Throws `runtime` in the runtime's words. */
  run(request: RunRequest, signal: AbortSignal): Promise<number>;
  /** Kills what still runs and forgets the container; without such a container nothing happens. */
  remove(id: string, signal: AbortSignal): Promise<void>;
  /** As `remove`, also for a container that is only about to start, whoever asked for it. */
  abandon(id: string, bundleDir: string, signal: AbortSignal): Promise<void>;
  /** It was made and never told to begin, by somebody who was killed in between: it would wait for ever. */
  isCreatedOnly(id: string): boolean;
  /** Drops what the runtime remembers of a container that is not there any more, without asking the runtime. */
  forget(id: string): Promise<void>;
  /** Runs a command in the container and waits for it; ends it when the signal aborts. */
  exec(id: string, command: readonly string[], signal: AbortSignal): Promise<ExecResult>;
  /** The command line that runs a process in the container, for a person; `processFile` holds its OCI description. */
  execLine(id: string, processFile: string): readonly string[];
  /**
   * The filter of system calls of a running container as the kernel got it, when the runtime keeps it and takes it in
   * place of a profile, which it would have to compile (8 ms and more each time).
   */
  compiledSeccomp(id: string): Promise<Uint8Array | undefined>;
  /** Containers that the runtime knows. */
  list(): Promise<string[]>;
  /** Ends what helped here; containers go on. */
  close(): Promise<void>;
}
