/**
 * Control groups, whatever version the host has (spec/decisions.md 5.2, 5.4).
 *
 * Version 2 has one tree. Version 1 has one tree per controller, and may have the tree of version 2 beside them for
 * nothing but process tracking (`hybrid`). Files here are answers of the kernel: they are read and written at once.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { asAosError, faultPoint } from '../../core/index.ts';

export interface CgroupLayout {
  readonly version: 1 | 2;
  /** Where the trees are mounted; version 2 has one. */
  readonly trees: readonly CgroupTree[];
  /** Hosts of version 1 only: mount point of a tree of version 2 beside the controllers. */
  readonly unified?: string | undefined;
}

export interface CgroupTree {
  /** `memory`, `cpu` …, `name=systemd`; empty for version 2. */
  readonly controllers: readonly string[];
  readonly mountPoint: string;
}

/** Reads the text of /proc/self/mountinfo. */
export function parseCgroupLayout(mountinfo: string): CgroupLayout {
  const trees: CgroupTree[] = [];
  let unified: string | undefined;
  for (const line of mountinfo.split('\n')) {
    const [before, after] = line.split(' - ');
    const mountPoint = before?.split(' ')[4];
    const [type, , options] = after?.split(' ') ?? [];
    if (mountPoint === undefined) continue;
    if (type === 'cgroup2') unified ??= mountPoint;
    if (type === 'cgroup') {
      const controllers = (options ?? '').split(',').filter((option) => option !== 'rw' && option !== 'ro');
      trees.push({ controllers, mountPoint });
    }
  }
  if (trees.length === 0 && unified !== undefined) {
    return { version: 2, trees: [{ controllers: [], mountPoint: unified }] };
  }
  return { version: 1, trees, unified };
}

/** A counter of the kernel in lines `<name> <value>`. */
function counterIn(text: string | undefined, name: string): number {
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text ?? '')?.[1] ?? 0);
}

export class Cgroups {
  readonly layout: CgroupLayout;

  constructor(layout: CgroupLayout = parseCgroupLayout(readFileSync('/proc/self/mountinfo', 'utf8'))) {
    this.layout = layout;
  }

  /** Directory of a cgroup in the tree of a controller; undefined when the host lacks the controller. */
  directory(path: string, controller: string): string | undefined {
    const tree =
      this.layout.version === 2
        ? this.layout.trees[0]
        : this.layout.trees.find(({ controllers }) => controllers.includes(controller));
    return tree && join(tree.mountPoint, path);
  }

  /** Text of a file of a cgroup; undefined when the cgroup or the file is gone. */
  read(path: string, controller: string, file: string): string | undefined {
    const directory = this.directory(path, controller);
    if (directory === undefined) return undefined;
    try {
      return readFileSync(join(directory, file), 'utf8');
    } catch {
      // Cgroups vanish at any moment, and not every kernel has every file.
      return undefined;
    }
  }

  /** Processes in a cgroup and the cgroups below it. */
  processes(path: string): number[] {
    const controller = this.layout.trees.find(({ controllers }) => controllers.includes('pids')) ? 'pids' : 'memory';
    const directory = this.directory(path, controller);
    return directory === undefined ? [] : [...new Set(processesBelow(directory))];
  }

  /** How often the kernel killed a process of the cgroup for want of memory. */
  oomKills(path: string): number {
    return this.layout.version === 2
      ? counterIn(this.read(path, 'memory', 'memory.events'), 'oom_kill')
      : counterIn(this.read(path, 'memory', 'memory.oom_control'), 'oom_kill');
  }

  /** Kills every process of the cgroup. */
  kill(path: string): void {
    faultPoint('cgroup.kill');
    const directory = this.directory(path, 'memory');
    if (this.layout.version === 2 && directory !== undefined && existsSync(join(directory, 'cgroup.kill'))) {
      try {
        writeFileSync(join(directory, 'cgroup.kill'), '1');
      } catch (error) {
        // Removed while we looked: nobody is in it.
        const { code } = error as NodeJS.ErrnoException;
        if (code !== 'ENOENT' && code !== 'ENODEV') throw asAosError(error, `cannot kill the cgroup ${directory}`);
      }
      return;
    }
    for (const pid of this.processes(path)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw asAosError(error, `cannot kill process ${pid}`);
      }
    }
  }

  /** Moves a process into a cgroup, which is created, in every tree that supervises or limits. */
  move(path: string, pid: number): void {
    const wanted = ['name=systemd', 'memory', 'pids', 'cpu'];
    const directories = this.layout.version === 2 ? [''] : wanted;
    const targets = new Set(directories.map((controller) => this.directory(path, controller)));
    if (this.layout.unified !== undefined) targets.add(join(this.layout.unified, path));
    for (const directory of targets) {
      if (directory === undefined) continue;
      try {
        if (!existsSync(directory)) mkdirSync(directory, { recursive: true });
        writeFileSync(join(directory, 'cgroup.procs'), String(pid));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ESRCH') return;
        throw asAosError(error, `cannot move process ${pid} to the cgroup ${directory}`);
      }
    }
  }

  /** Removes an empty cgroup and those below it from all trees. */
  remove(path: string): void {
    const mountPoints = this.layout.trees.map(({ mountPoint }) => mountPoint);
    if (this.layout.unified !== undefined) mountPoints.push(this.layout.unified);
    for (const mountPoint of mountPoints) removeTree(join(mountPoint, path));
  }
}

function subdirectories(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(directory, entry.name));
  } catch {
    // Gone: it has nothing below it.
    return [];
  }
}

function processesBelow(directory: string): number[] {
  let own: number[] = [];
  try {
    own = readFileSync(join(directory, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
  } catch {
    // Gone: nobody is in it.
    return [];
  }
  return [...own, ...subdirectories(directory).flatMap(processesBelow)];
}

function removeTree(directory: string): void {
  if (!existsSync(directory)) return;
  for (const child of subdirectories(directory)) removeTree(child);
  try {
    rmdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw asAosError(error, `cannot remove the cgroup ${directory}`);
    }
  }
}
