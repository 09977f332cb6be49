/** What the host of a node brings: its kernel and its programs. */
import { execFile } from 'node:child_process';
import { access, constants, readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

const PROGRAMS = ['crun', 'runc', 'conmon', 'nft', 'ip', 'tc', 'dnsmasq'];
/** Where daemons look, whatever the path of whoever asks. */
const SYSTEM_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
/** How a device of each kind is made; it is called like its kind. */
const DEVICES: Readonly<Record<string, string>> = {
  bridge: 'name bridge type bridge',
  veth: 'name veth type veth peer name peer',
  vlan: 'link lo name vlan type vlan id 1',
};
const TRY_TIMEOUT_MS = 10_000;

export async function fileSystems(): Promise<string[]> {
  const text = await read('/proc/filesystems');
  return text.split('\n').map((line) => line.split('\t').at(-1)!);
}

/** Of the tree of version 2 and of all trees of version 1. */
export async function controllers(): Promise<string[]> {
  const [unified, enabled] = await Promise.all([read('/sys/fs/cgroup/cgroup.controllers'), read('/proc/cgroups')]);
  const first = enabled
    .split('\n')
    .map((line) => line.split('\t'))
    .filter(([name, , , on]) => !name!.startsWith('#') && on === '1')
    .map(([name]) => name!);
  return [...new Set([...unified.trim().split(' ').filter(Boolean), ...first])];
}

export async function findPrograms(): Promise<string[]> {
  const directories = [...new Set([...(process.env.PATH ?? '').split(delimiter), ...SYSTEM_PATH])];
  const isThere = async (name: string) => {
    const found = await Promise.all(
      directories.map((directory) => access(join(directory, name), constants.X_OK).then(...settled)),
    );
    return found.includes(true);
  };
  const found = await Promise.all(PROGRAMS.map(isThere));
  return PROGRAMS.filter((_, index) => found[index]);
}

const settled = [() => true, () => false] as const;

/**
 * Kinds of network devices that this kernel makes, tried in a network name space that ends with the one process; undefined
 * without the right to try.
 */
export async function devices(): Promise<string[] | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const lines = [...Object.values(DEVICES).map((words) => `link add ${words}`), 'link show'];
  const there = await new Promise<string>((resolve) => {
    // A line that fails does not keep the others from being done, and what could be made is shown whatever failed.
    const words = ['--net', 'ip', '-json', '-force', '-batch', '-'];
    const ip = execFile('unshare', words, { timeout: TRY_TIMEOUT_MS }, (_failure, stdout) => resolve(stdout));
    ip.stdin?.on('error', () => undefined); // It was not even started, so it shows nothing.
    ip.stdin?.end(lines.join('\n'));
  });
  return Object.keys(DEVICES).filter((name) => there.includes(`"ifname":"${name}"`));
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    // A kernel without it has none of what it lists.
    return '';
  }
}
