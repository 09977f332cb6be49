/** Which container runtime works on this host, asked once. */
import { access, constants } from 'node:fs/promises';
import { basename, delimiter, join } from 'node:path';
import { AosError } from '../../core/index.ts';
import type { CgroupLayout } from '../cgroup/index.ts';

export interface RuntimeChoice {
  readonly name: 'crun' | 'runc';
  readonly executable: string;
  /**
   * crun refuses hosts that have controllers of version 1 and a tree of version 2 beside them. It gets a mount
   * namespace of its own in which this mount point is missing.
   */
  readonly hiddenMount?: string | undefined;
  /** For people. */
  readonly because: string;
}

export interface RuntimeWish {
  /** Type of the runtime in the configuration: `crun`, `runc` … */
  readonly type: string;
  /** Configured program; one that does not exist is passed over. */
  readonly executable?: string | undefined;
}

const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Absolute path of a program, or undefined. */
export async function findProgram(name: string, searchPath = SEARCH_PATH): Promise<string | undefined> {
  const candidates = name.includes('/')
    ? [name]
    : searchPath.split(delimiter).map((directory) => join(directory, name));
  for (const candidate of candidates) {
    const found = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return candidate;
  }
  return undefined;
}

/** As `findProgram`; throws `notSupported` naming the package to install. */
export async function needProgram(name: string): Promise<string> {
  const path = await findProgram(name);
  if (path === undefined) {
    throw new AosError('notSupported', `containers need the program ${name}, which is not installed on this node`);
  }
  return path;
}

/** Takes the wanted runtime if it is there, else the other one. Throws `notSupported` when there is none. */
export async function chooseRuntime(wish: RuntimeWish, cgroups: CgroupLayout): Promise<RuntimeChoice> {
  const wanted = wish.type === 'runc' ? ['runc', 'crun'] : ['crun', 'runc'];
  const names = wish.executable === undefined ? wanted : [wish.executable, ...wanted];
  for (const name of names) {
    const executable = await findProgram(name);
    if (executable === undefined) continue;
    if (basename(executable).startsWith('runc')) {
      return { name: 'runc', executable, because: because(name, names) };
    }
    const hiddenMount = cgroups.version === 1 ? cgroups.unified : undefined;
    return { name: 'crun', executable, hiddenMount, because: because(name, names) };
  }
  throw new AosError('notSupported', 'neither crun nor runc is installed on this node; install one of them');
}

function because(name: string, names: readonly string[]): string {
  return name === names[0] ? `${name} is what the configuration asks for` : `${names[0]} is not on this node`;
}
