/** Everything of a container up to its start: data, devices, root, configuration (spec/sm.md 5.2). */
import { existsSync, statSync } from 'node:fs';
import { chown, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AosError, asAosError, faultPoint, instanceId } from '../../core/index.ts';
import type { InstanceInfo, OciMount, StartRequest } from '../model.ts';
import { findDevices, groupIds, type NodeResource, type NodeResources, refuseResource } from '../resources/index.ts';
import { buildOciConfig, type GrantedResources, itemConfigOf } from './build-oci-config.ts';
import type { Bundle } from './bundle.ts';
import { containerMounts, type DataDirectories, dataPaths } from './container-mounts.ts';
import type { ProcessorFacts } from './limits.ts';
import { HOST_FILES } from './oci-base.ts';
import type { ContainerRoots } from './runtime-model.ts';
import type { SeccompFilter } from './seccomp-filter.ts';

export interface BundleParts {
  readonly roots: ContainerRoots;
  readonly resources: NodeResources;
  readonly directories: DataDirectories;
  readonly node: ProcessorFacts;
  readonly seccomp: SeccompFilter;
  readonly measure?: Measure | undefined;
}

/** Does the work, which is a step of that name. For benches. */
export type Measure = <T>(step: string, work: () => Promise<T>) => Promise<T>;

/** Nobody wants to know how long steps take. */
export const UNMEASURED: Measure = (_, work) => work();

/**
 * Fills an empty bundle, but for the configuration: what is answered writes that, just before the start, since the filter
 * of system calls may have been compiled by then. Throws what the node lacks or the item asks for in vain, by name.
 */
export async function prepareBundle(
  bundle: Bundle,
  { info, item, network, secret }: StartRequest,
  parts: BundleParts,
  signal: AbortSignal,
): Promise<() => void> {
  const { measure = UNMEASURED } = parts;
  const { quotas, resources: wanted } = itemConfigOf(item);
  const found = wanted.map(({ name, mode }) => ({ resource: parts.resources.find(name), mode }));
  const granted = await measure('resources', () => grantResources(found));
  const mounts = containerMounts({
    info,
    quotas,
    directories: parts.directories,
    hostFiles: HOST_FILES.filter((path) => existsSync(path)),
    resources: found.flatMap(({ resource }) => resource.mounts),
  });
  bundle.create();
  await measure('state', () => prepareData(info, parts.directories));
  const { hosts, dnsServers, hostname } = network;
  const names = [...hosts, ...found.flatMap(({ resource }) => resourceHosts(resource.hosts, hosts))];
  const root = await parts.roots.prepare(
    {
      id: instanceId(info.ident),
      bundleDir: bundle.dir,
      item,
      mounts,
      network: { hosts: names, dnsServers, hostname },
    },
    signal,
  );
  faultPoint('sm.runtime.root-prepared');
  return () =>
    bundle.writeConfig(
      buildOciConfig({
        info,
        item,
        root: { path: root.path, mounts: [...root.mounts, ...mounts] },
        resources: granted,
        node: parts.node,
        network,
        secret,
        seccomp: parts.seccomp.profile,
        annotations: parts.seccomp.annotations,
      }),
    );
}

interface FoundResource {
  readonly resource: NodeResource;
  readonly mode: string;
}

/** What resources bring besides mounts. Throws `notFound` for a device, group or source that the node lacks. */
async function grantResources(found: readonly FoundResource[]): Promise<GrantedResources> {
  const granted = await Promise.all(
    found.map(async (one) => {
      try {
        return await grantResource(one);
      } catch (error) {
        throw refuseResource(one.resource, error);
      }
    }),
  );
  return {
    gids: [...new Set(granted.flatMap(({ gids }) => gids))],
    envs: found.flatMap(({ resource }) => resource.envs),
    devices: granted.flatMap(({ devices }) => devices),
  };
}

async function grantResource({ resource, mode }: FoundResource): Promise<Pick<GrantedResources, 'gids' | 'devices'>> {
  checkSources(resource);
  const devices = await Promise.all(resource.devices.map(findDevices));
  return {
    gids: await groupIds(resource.groups),
    devices: devices.flat().map((device) => ({ device, access: mode })),
  };
}

/** Throws `notFound` for a file or directory of the node that is to be mounted and is not there. */
function checkSources({ mounts }: NodeResource): void {
  const isBind = ({ type, options }: OciMount) => type === 'bind' || options.some((option) => /^r?bind$/.test(option));
  const missing = mounts.filter(isBind).find(({ source }) => !existsSync(source));
  if (missing === undefined) return;
  const { source, destination } = missing;
  throw new AosError('notFound', `${source} for ${destination} is not on this node`, { fields: { source } });
}

/** Names that the network does not already know. */
function resourceHosts(
  resource: readonly { readonly ip: string; readonly hostname: string }[],
  known: readonly { readonly ip: string; readonly name: string }[],
): { readonly ip: string; readonly name: string }[] {
  return resource
    .map(({ ip, hostname }) => ({ ip, name: hostname }))
    .filter(({ ip, name }) => !known.some((host) => host.ip === ip && host.name === name));
}

/** No service is root: what is root's was made just before a kill, and never handed over. */
function isHanded(path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  return found !== undefined && found.uid !== 0;
}

/** State and storage belong to the CM, which fills them; what is missing is created for the instance's user. */
async function prepareData(info: InstanceInfo, directories: DataDirectories): Promise<void> {
  const { state, storage } = dataPaths(info, directories);
  try {
    if (state !== undefined && !isHanded(state)) {
      await mkdir(dirname(state), { recursive: true, mode: 0o755 });
      const file = await open(state, 'a', 0o600);
      try {
        await file.chown(info.uid, info.gid);
        await file.sync();
      } finally {
        await file.close();
      }
    }
    if (storage !== undefined && !isHanded(storage)) {
      await mkdir(dirname(storage), { recursive: true, mode: 0o755 });
      // Not recursive: that would call a disk that cannot be written "no such file or directory".
      if (!existsSync(storage)) await mkdir(storage, { mode: 0o755 });
      await chown(storage, info.uid, info.gid);
    }
  } catch (error) {
    throw asAosError(error, 'cannot create state or storage of the instance');
  }
}
