/** The runtimes of this node, as the configuration names them (spec/sm.md 1.6, 5.1). */
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { AosError, type Logger, readDocument, systemClock } from '../core/index.ts';
import { Cgroups } from '../platform/cgroup/index.ts';
import { HostMounts } from '../platform/mount/index.ts';
import { createOciEngine } from '../platform/oci-runtime/index.ts';
import type { Programs } from '../platform/program/index.ts';
import { ContainerConfig, type SmConfig } from './config.ts';
import { type FirmwareReport, type FirmwareRuntime, openFirmware } from './firmware/index.ts';
import type { Runtime } from './launcher/index.ts';
import { chooseInstance, type LoggedInstance } from './logs/index.ts';
import type { InstanceInfo, NodeInfo, RuntimeInfo } from './model.ts';
import type { NodeResources } from './resources/index.ts';
import { ContainerRoots } from './rootfs/index.ts';
import {
  ContainerRuntime,
  type Execution,
  HELPERS_CGROUP,
  loadSeccomp,
  logFilesOf,
  type RunningInstance,
  SERVICES_CGROUP,
} from './runtime/index.ts';
import { SqliteSupervisionStore, type SupervisionStore } from './supervision/index.ts';

export interface RuntimeParts {
  readonly config: SmConfig;
  readonly node: NodeInfo;
  readonly resources: NodeResources;
  readonly programs: Programs;
  readonly database: DatabaseSync;
  readonly logger: Logger;
}

/** All of them; stopping ends their supervision, and containers go on. */
export class Runtimes {
  readonly all: readonly ContainerRuntime[];
  readonly firmware: readonly FirmwareRuntime[];
  readonly cgroups: Cgroups;
  readonly #store: SupervisionStore;

  constructor(
    all: readonly ContainerRuntime[],
    firmware: readonly FirmwareRuntime[],
    cgroups: Cgroups,
    store: SupervisionStore,
  ) {
    this.all = all;
    this.firmware = firmware;
    this.cgroups = cgroups;
    this.#store = store;
  }

  /** In the order of their kinds: the launcher cares for no other. */
  get launched(): readonly Runtime[] {
    return [...this.all, ...this.firmware];
  }

  infos(): RuntimeInfo[] {
    return [...this.all, ...this.firmware].map((runtime) => runtime.info());
  }

  firmwareReports(): FirmwareReport[] {
    return this.firmware.map((runtime) => runtime.report());
  }

  instances(): RunningInstance[] {
    return this.all.flatMap((runtime) => runtime.instances());
  }

  /** How a command runs in the instance that a name means. Throws `notFound`, `wrongState`. */
  async execution(name: string, command: readonly string[], terminal: boolean): Promise<Execution> {
    const { id } = chooseInstance(this.logged(), name);
    return this.all
      .find((runtime) => runtime.instances().some((instance) => instance.id === id))!
      .execution(id, command, terminal);
  }

  /** Instances with what their logs are asked by. */
  logged(): LoggedInstance[] {
    return this.instances().map(({ id, itemId, subjectId, instance, startedAt }) => {
      const [crash] = this.#store.history(id);
      const ident = { itemId, subjectId, instance, type: 'service', preinstalled: false } as const;
      const startOfCrash = crash && new Date(crash.at.getTime() - crash.uptimeMs);
      return {
        id,
        ident,
        crashedAt: crash?.at,
        startedAt: startOfCrash ?? (startedAt ? new Date(startedAt) : undefined),
        runsSince: startedAt ? new Date(startedAt) : undefined,
        formerRunFrom: startOfCrash,
      };
    });
  }

  /** Directories on whose file systems the data of an instance lies; none for data that it does not have. */
  dataPaths({ runtimeId, storagePath, statePath }: InstanceInfo): { storage?: string; state?: string } {
    const directories = this.all.find((runtime) => runtime.runtimeId === runtimeId)?.directories;
    return {
      ...(directories && storagePath !== '' && { storage: directories.storageDir }),
      ...(directories && statePath !== '' && { state: directories.stateDir }),
    };
  }

  /** Files with the output of an instance, the oldest first, on a host without a journal. */
  logFiles(id: string): readonly string[] {
    const logFile = this.instances().find((instance) => instance.id === id)?.logFile;
    return logFile === undefined ? [] : logFilesOf(logFile);
  }

  /** Whether an entry of the journal comes from an instance of this node. */
  wrote(fields: Readonly<Record<string, string>>): boolean {
    const cgroup = fields._SYSTEMD_CGROUP ?? '';
    const id = fields.CONTAINER_ID_FULL;
    return cgroup.startsWith(`${SERVICES_CGROUP}/`) || this.instances().some((instance) => instance.id === id);
  }

  async stop(): Promise<void> {
    await Promise.all([...this.all, ...this.firmware].map((runtime) => runtime.close()));
  }
}

/** Throws `notSupported` for an unknown plugin, `invalidArgument` for a setting. */
export async function openRuntimes(parts: RuntimeParts): Promise<Runtimes> {
  const all: ContainerRuntime[] = [];
  const firmware: FirmwareRuntime[] = [];
  const host = { cgroups: new Cgroups(), store: new SqliteSupervisionStore(parts.database, parts.logger) };
  for (const { plugin, type, config } of parts.config.runtimes) {
    switch (plugin) {
      case 'container':
        all.push(await openContainerRuntime(type, config, { ...parts, ...host }));
        break;
      case 'boot':
      case 'rootfs':
        firmware.push(await openFirmware(plugin, type, config, parts));
        break;
      default: {
        const text = `runtimes: plugin "${plugin}" of type "${type}" is not known, expected container, boot or rootfs`;
        throw new AosError('notSupported', text);
      }
    }
  }
  const ids = [...all, ...firmware].map(({ runtimeId }) => runtimeId);
  if (new Set(ids).size < ids.length) {
    throw new AosError('invalidArgument', 'runtimes: two of them have the same type');
  }
  return new Runtimes(all, firmware, host.cgroups, host.store);
}

interface HostParts {
  readonly cgroups: Cgroups;
  readonly store: SupervisionStore;
}

async function openContainerRuntime(
  type: string,
  settings: Record<string, unknown>,
  { config, node, resources, programs, cgroups, store, logger }: RuntimeParts & HostParts,
): Promise<ContainerRuntime> {
  const { value, warnings } = readDocument(ContainerConfig, settings, {
    what: `runtimes: config of ${type}`,
    once: true,
  });
  for (const warning of warnings) logger.warn({ runtime: type }, warning);
  const { workingDir } = config;
  const { crunExecutable, hostBinds, allowUnsafeHostBinds } = value;
  const mounts = new HostMounts(systemClock, programs);
  const engine = await createOciEngine({
    wish: { type, ...(crunExecutable === undefined ? {} : { executable: crunExecutable }) },
    stateRoot: value.crunStateRoot,
    cgroups,
    helperCgroup: HELPERS_CGROUP,
    bundleRoot: value.runtimeDir,
    logger,
  });
  return new ContainerRuntime({
    type,
    node,
    engine,
    cgroups,
    roots: await ContainerRoots.open({ workingDir, hostBinds, allowUnsafeHostBinds, mounts }),
    resources,
    store,
    runtimeDir: value.runtimeDir,
    logDir: join(workingDir, 'logs'),
    directories: {
      stateDir: value.stateDir ?? join(workingDir, 'states'),
      storageDir: value.storageDir ?? join(workingDir, 'storages'),
    },
    stopTimeoutMs: config.stopTimeout,
    seccomp: await loadSeccomp(value.seccomp),
    logger,
  });
}
