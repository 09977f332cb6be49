/** What a node with aos-sm holds of the host, counted from outside: whatever grows with the cycles leaks. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';

const NAMESPACES = ['mnt', 'net', 'pid', 'ipc', 'uts', 'cgroup'];

export interface Belongings {
  readonly processes: number;
  /** Different namespaces that these processes are in. */
  readonly namespaces: number;
  /** Named network namespaces of the instances. */
  readonly namedNamespaces: number;
  /** Mount points of the node and its instances, in each mount namespace of these processes. */
  readonly mounts: number;
  readonly cgroups: number;
  /** Interfaces of the node's network. */
  readonly links: number;
  /** Tables, chains, rules, sets, counters of its firewall, and the elements of its sets. */
  readonly rules: number;
  /** Open descriptors of the daemon. */
  readonly descriptors: number;
  /** Files and directories of the node, without logs. */
  readonly files: number;
  /** Bytes of these, without databases, which keep pages that became free. */
  readonly diskBytes: number;
  /** Memory that only the daemon has. */
  readonly privateBytes: number;
}

export interface Owner {
  /** Process number of the daemon. */
  readonly pid: number;
  readonly directory: string;
  /** Ids of the instances that there may be. */
  readonly ids: readonly string[];
  /** Name of the network namespace that the daemon is in. Without one its network is the host's, which is not counted. */
  readonly namespace?: string | undefined;
}

/** Whatever vanishes while we look counts as gone. */
function orElse<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EINVAL') return otherwise;
    throw error;
  }
}

const list = (directory: string) => orElse(() => readdirSync(directory), []);
const text = (path: string) => orElse(() => readFileSync(path, 'utf8'), '');

/** The daemon, what descends from it, and what names its directory or an instance, wherever that was moved to. */
function processesOf({ pid, directory, ids }: Owner): number[] {
  const parents = new Map<number, number>();
  for (const name of list('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const stat = text(`/proc/${name}/stat`);
    // The name of the program stands in parentheses and may have spaces.
    if (stat !== '') parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
  }
  const descends = (process: number | undefined): boolean =>
    process !== undefined && (process === pid || descends(parents.get(process)));
  const names = (process: number) =>
    text(`/proc/${process}/cmdline`).includes(directory) ||
    ids.some((id) => text(`/proc/${process}/cgroup`).includes(id));
  return [...parents.keys()].filter(
    (process) => process !== globalThis.process.pid && (descends(process) || names(process)),
  );
}

function namespacesOf(processes: readonly number[]): Map<string, number> {
  const found = new Map<string, number>();
  for (const process of processes) {
    for (const kind of NAMESPACES) {
      const name = orElse(() => readlinkSync(`/proc/${process}/ns/${kind}`), '');
      if (name !== '') found.set(name, process);
    }
  }
  return found;
}

function countCgroups(directory: string, ids: readonly string[]): number {
  return orElse(() => readdirSync(directory, { withFileTypes: true }), [])
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => Number(ids.some((id) => name.includes(id))) + countCgroups(join(directory, name), ids))
    .reduce((sum, count) => sum + count, 0);
}

function measureFiles(directory: string): { files: number; bytes: number } {
  const sum = { files: 0, bytes: 0 };
  for (const entry of orElse(() => readdirSync(directory, { withFileTypes: true }), [])) {
    if (/\.log(?:\.\d+)?$|^logs?$/.test(entry.name)) continue;
    const path = join(directory, entry.name);
    const inner = entry.isDirectory() ? measureFiles(path) : { files: 0, bytes: 0 };
    const isDatabase = /\.db(?:-wal|-shm)?$/.test(entry.name);
    const own = entry.isFile() && !isDatabase ? orElse(() => statSync(path).blocks * 512, 0) : 0;
    sum.files += inner.files + 1;
    sum.bytes += inner.bytes + own;
  }
  return sum;
}

/** What a program tells as JSON from inside of the namespace. */
function askInside(namespace: string, ...words: readonly string[]): unknown {
  const text = execFileSync('nsenter', [`--net=/run/netns/${namespace}`, ...words], { encoding: 'utf8' });
  return JSON.parse(text === '' ? '[]' : text);
}

function countRules(namespace: string): number {
  const { nftables } = askInside(namespace, 'nft', '-j', 'list', 'ruleset') as {
    nftables: Record<string, { elem?: readonly unknown[] }>[];
  };
  return nftables
    .filter((entry) => entry.metainfo === undefined)
    .map((entry) => 1 + (Object.values(entry)[0]?.elem?.length ?? 0))
    .reduce((sum, count) => sum + count, 0);
}

/** Counts now; let everything come to rest before. */
export function countBelongings(owner: Owner, directories: readonly string[]): Belongings {
  const processes = processesOf(owner);
  const namespaces = namespacesOf(processes);
  const mounts = [...namespaces]
    .filter(([name]) => name.startsWith('mnt:'))
    .map(([, process]) => text(`/proc/${process}/mountinfo`).split('\n'))
    // Others may mount on this host meanwhile.
    .map((lines) => lines.filter((line) => [owner.directory, ...owner.ids].some((own) => line.includes(own))).length);
  const disk = directories.map(measureFiles);
  const memory = [...text(`/proc/${owner.pid}/smaps_rollup`).matchAll(/^Private_(?:Clean|Dirty): +(\d+) kB$/gm)];
  return {
    processes: processes.length,
    namespaces: namespaces.size,
    namedNamespaces: list('/run/netns').filter((name) => owner.ids.includes(name)).length,
    mounts: mounts.reduce((sum, count) => sum + count, 0),
    cgroups: countCgroups('/sys/fs/cgroup', owner.ids),
    links: owner.namespace ? (askInside(owner.namespace, 'ip', '-j', 'link') as unknown[]).length : 0,
    rules: owner.namespace ? countRules(owner.namespace) : 0,
    descriptors: list(`/proc/${owner.pid}/fd`).length,
    files: disk.reduce((sum, { files }) => sum + files, 0),
    diskBytes: disk.reduce((sum, { bytes }) => sum + bytes, 0),
    privateBytes: memory.reduce((sum, [, kilobytes]) => sum + Number(kilobytes) * 1024, 0),
  };
}
