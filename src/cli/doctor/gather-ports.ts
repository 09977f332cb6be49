/** Who listens on the ports that the daemons of this node want. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { PortFact } from './facts.ts';

/** Members of the configurations that name where a daemon listens, in lower case, and which daemon that is. */
const LISTENERS: Readonly<Record<string, PortFact['daemon']>> = {
  cmserverurl: 'aos-cm',
  fileserverurl: 'aos-cm',
  iampublicserverurl: 'aos-iam',
  iamprotectedserverurl: 'aos-iam',
};
/** Which configuration says so for its own daemon: others name the same ports to dial them. */
const OWNERS: Readonly<Record<PortFact['daemon'], RegExp>> = {
  'aos-cm': /(cm|communication\w*)\.cfg$/,
  'aos-iam': /iam\w*\.cfg$/,
  'aos-sm': /(sm|service\w*)\.cfg$/,
};
const LISTENING = '0A';

interface Wanted {
  readonly daemon: PortFact['daemon'];
  readonly key: string;
  readonly port: number;
}

/** The ports of a configuration. */
export function portsOf(path: string, config: Readonly<Record<string, unknown>>): Wanted[] {
  return Object.entries(config).flatMap(([key, value]) => {
    const daemon = LISTENERS[key.toLowerCase()];
    if (daemon === undefined || typeof value !== 'string' || !OWNERS[daemon].test(basename(path))) return [];
    const port = Number(/:(\d+)\/?$/.exec(value)?.[1]);
    return Number.isInteger(port) ? [{ daemon, key, port }] : [];
  });
}

/** Ports that somebody listens on, with the inode of the socket, of `/proc/net/tcp` or `tcp6`. Pure. */
export function listenersIn(table: string): Map<number, string> {
  const found = new Map<number, string>();
  for (const line of table.split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/);
    if (fields[3] === LISTENING) found.set(Number.parseInt(fields[1]!.split(':')[1]!, 16), fields[9]!);
  }
  return found;
}

/**
 * Those that somebody listens on. Who that is stands in one of all descriptors of all processes, so it is looked for only
 * where the daemon itself has not got the port.
 */
export async function lookAtPorts(
  wanted: readonly Wanted[],
  hasPorts: (daemon: PortFact['daemon']) => boolean,
  proc = '/proc',
): Promise<PortFact[]> {
  if (wanted.length === 0) return [];
  const tables = await Promise.all(['tcp', 'tcp6'].map((name) => textOf(join(proc, 'net', name))));
  const listeners = new Map(tables.flatMap((table) => [...listenersIn(table)]));
  const taken = wanted.filter(({ port }) => listeners.has(port));
  const foreign = taken.filter(({ daemon }) => !hasPorts(daemon));
  const owners = await ownersOf(new Set(foreign.map(({ port }) => listeners.get(port)!)), proc);
  return taken.map((one) => {
    const holder = owners.get(listeners.get(one.port)!);
    return { ...one, ...(holder && { holder }) };
  });
}

/** Which process has each socket; without the right to look at other people's processes, of none. */
async function ownersOf(
  inodes: ReadonlySet<string>,
  proc: string,
): Promise<Map<string, NonNullable<PortFact['holder']>>> {
  const owners = new Map<string, NonNullable<PortFact['holder']>>();
  if (inodes.size === 0) return owners;
  for (const pid of (await namesIn(proc)).filter((name) => /^\d+$/.test(name))) {
    const directory = join(proc, pid, 'fd');
    for (const name of await namesIn(directory)) {
      // A descriptor that was closed meanwhile leads nowhere.
      const inode = /^socket:\[(\d+)\]$/.exec(await readlink(join(directory, name)).catch(() => ''))?.[1];
      if (inode === undefined || !inodes.has(inode) || owners.has(inode)) continue;
      const command = (await textOf(join(proc, pid, 'cmdline'))).replaceAll('\0', ' ').trim();
      owners.set(inode, { pid: Number(pid), command });
    }
    if (owners.size === inodes.size) break;
  }
  return owners;
}

async function namesIn(directory: string): Promise<string[]> {
  // The process ended, or is not ours to look at.
  return readdir(directory).catch(() => []);
}

async function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
