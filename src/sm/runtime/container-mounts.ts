/** What is mounted in a container besides its root (spec/sm.md 5.5, 5.7, 5.8). Pure. */
import { join, normalize, resolve } from 'node:path';
import { AosError } from '../../core/index.ts';
import type { Quotas } from '../../oci/index.ts';
import type { InstanceInfo, OciMount } from '../model.ts';
import { BASE_MOUNTS } from './oci-base.ts';

export interface DataDirectories {
  readonly stateDir: string;
  readonly storageDir: string;
}

export interface MountSources {
  readonly info: Pick<InstanceInfo, 'statePath' | 'storagePath'>;
  readonly quotas: Quotas;
  readonly directories: DataDirectories;
  /** Those of `HOST_FILES` that the host has. */
  readonly hostFiles: readonly string[];
  readonly resources: readonly OciMount[];
}

/** In the order of mounting; a mount at a destination that is already there takes its place. */
export function containerMounts(sources: MountSources): OciMount[] {
  const mounts = new Map<string, OciMount>();
  const put = (mount: OciMount) => mounts.set(resolve('/', mount.destination), mount);
  BASE_MOUNTS.forEach(put);
  for (const path of sources.hostFiles) {
    put({ destination: path, type: 'bind', source: path, options: ['bind', 'ro'] });
  }
  const { tmpLimit } = sources.quotas;
  if (tmpLimit !== undefined) {
    const options = ['nosuid', 'strictatime', 'mode=1777', `size=${tmpLimit}`];
    put({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options });
  }
  sources.resources.forEach(put);
  const { state, storage } = dataPaths(sources.info, sources.directories);
  if (state !== undefined) put({ destination: '/state.dat', type: 'bind', source: state, options: ['bind', 'rw'] });
  if (storage !== undefined) put({ destination: '/storage', type: 'bind', source: storage, options: ['bind', 'rw'] });
  return [...mounts.values()];
}

/** Where the data of an instance lies on the host. Throws `invalidArgument` for a path that leads elsewhere. */
export function dataPaths(
  info: Pick<InstanceInfo, 'statePath' | 'storagePath'>,
  { stateDir, storageDir }: DataDirectories,
): { readonly state: string | undefined; readonly storage: string | undefined } {
  return { state: inside(stateDir, info.statePath), storage: inside(storageDir, info.storagePath) };
}

function inside(directory: string, path: string): string | undefined {
  if (path === '') return undefined;
  const full = join(directory, path);
  if (full.startsWith(`${normalize(directory)}/`) && !path.includes('\0')) return full;
  throw new AosError('invalidArgument', `"${path}" is not a path below ${directory}`);
}
