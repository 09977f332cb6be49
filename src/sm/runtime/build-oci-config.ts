/** The configuration that the container runtime gets (spec/sm.md 5.5 … 5.8, spec/oci-items.md 10). Pure. */
import { AosError, instanceId, instanceName } from '../../core/index.ts';
import { ItemConfig } from '../../oci/index.ts';
import type { OciConfig, OciDevice, OciDeviceRule } from '../../platform/oci-runtime/index.ts';
import type { InstalledItem, InstanceInfo, OciMount } from '../model.ts';
import { buildEnvironment } from './environment.ts';
import { cgroupLimits, type ProcessorFacts, processLimits } from './limits.ts';
import { CAPABILITIES, MASKED_PATHS, OCI_VERSION, READONLY_PATHS, SERVICES_CGROUP } from './oci-base.ts';

/** A device with the access that the item asks for: letters of `rwm`. */
export interface GrantedDevice {
  readonly device: OciDevice;
  readonly access: string;
}

/** What the requested resources of the node bring into a container. */
export interface GrantedResources {
  readonly gids: readonly number[];
  readonly envs: readonly string[];
  readonly devices: readonly GrantedDevice[];
}

export interface OciConfigInput {
  readonly info: InstanceInfo;
  readonly item: InstalledItem;
  /** Where the root is, and what is mounted into it in this order. */
  readonly root: { readonly path: string; readonly mounts: readonly OciMount[] };
  readonly resources: GrantedResources;
  readonly node: ProcessorFacts;
  readonly network: { readonly netnsPath?: string | undefined; readonly hostname: string };
  readonly secret?: string | undefined;
  /** Absent: no filter of system calls. */
  readonly seccomp?: unknown;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}

/** Cgroup of an instance. */
export function cgroupPathOf(id: string): string {
  return `${SERVICES_CGROUP}/${id}`;
}

/** An item without a configuration of its own has all defaults. */
export function itemConfigOf(item: Pick<InstalledItem, 'itemConfig'>): ItemConfig {
  return item.itemConfig ?? ItemConfig.parse({});
}

/** Throws `invalidArgument` naming what the item lacks or asks for in vain. */
export function buildOciConfig(input: OciConfigInput): OciConfig {
  const { info, item, resources } = input;
  const process = item.imageConfig?.config;
  const args = [...(process?.entrypoint ?? []), ...(process?.cmd ?? [])];
  if (args.length === 0) {
    throw new AosError('invalidArgument', `the image of ${instanceName(info.ident)} names no command`);
  }
  const { quotas, sysctl, hostname } = itemConfigOf(item);
  const { devices, rules } = grantDevices(resources.devices);
  return {
    ociVersion: OCI_VERSION,
    process: {
      terminal: false,
      user: {
        uid: info.uid,
        gid: info.gid,
        ...(resources.gids.length === 0 ? {} : { additionalGids: resources.gids }),
      },
      args,
      env: buildEnvironment({
        ident: info.ident,
        image: process?.env ?? [],
        secret: input.secret,
        resources: resources.envs,
        overrides: info.envVars,
      }),
      cwd: process?.workingDir ?? '/',
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      rlimits: processLimits(quotas),
      noNewPrivileges: true,
    },
    root: { path: input.root.path, readonly: true },
    hostname: (hostname ?? input.network.hostname) || 'runc',
    mounts: input.root.mounts.map(({ options, ...mount }) => (options.length === 0 ? mount : { ...mount, options })),
    ...(input.annotations === undefined ? {} : { annotations: input.annotations }),
    linux: {
      cgroupsPath: cgroupPathOf(instanceId(info.ident)),
      namespaces: [
        { type: 'pid' },
        { type: 'ipc' },
        { type: 'uts' },
        { type: 'mount' },
        { type: 'cgroup' },
        { type: 'network', ...(input.network.netnsPath === undefined ? {} : { path: input.network.netnsPath }) },
      ],
      ...(devices.length === 0 ? {} : { devices }),
      ...(Object.keys(sysctl).length === 0 ? {} : { sysctl }),
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
      resources: { devices: [{ allow: false, access: 'rwm' }, ...rules], ...cgroupLimits(quotas, input.node) },
      ...(input.seccomp === undefined ? {} : { seccomp: input.seccomp }),
    },
  };
}

/** A device at a path that is already there takes its place, as does the rule for the same device. */
function grantDevices(granted: readonly GrantedDevice[]): { devices: OciDevice[]; rules: OciDeviceRule[] } {
  const devices = new Map<string, OciDevice>();
  const rules = new Map<string, OciDeviceRule>();
  for (const { device, access } of granted) {
    devices.set(device.path, device);
    // A fifo is a file: device rules do not concern it.
    if (device.type === 'p') continue;
    const { type, major = 0, minor = 0 } = device;
    rules.set(`${type} ${major}:${minor}`, { allow: true, type, major, minor, access });
  }
  return { devices: [...devices.values()], rules: [...rules.values()] };
}
