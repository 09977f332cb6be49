/** From what a configuration says of a partition to its device and its place on the disk (spec/sm.md 6.5, 6.6). */
import { readFile, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { AosError, asAosError } from '../../core/index.ts';
import { execProgram, mustExec } from '../program/index.ts';

/** They look at every disk of the host; a slow board that is starting takes its time. */
const TIMEOUT_MS = 60_000;
const TAG = /^(?:PARTLABEL|PARTUUID|LABEL|UUID)=.+/;

/**
 * Full names of devices; tags such as `PARTLABEL=boot-a` stay. In the mode `auto` a name is what follows the device of
 * the root file system without its number: `root=/dev/mmcblk0p3` and `1` make `/dev/mmcblk0p1`. Pure.
 * Throws `invalidArgument` when the command line names no such device.
 */
export function deviceNames(partitions: readonly string[], mode: '' | 'auto', cmdline: string): string[] {
  if (mode === '') return [...partitions];
  const root = /(?:^|\s)root=(\S+)/.exec(cmdline)?.[1];
  if (root === undefined || !root.startsWith('/dev/')) {
    const found = root === undefined ? 'nothing' : `"${root}"`;
    throw new AosError(
      'invalidArgument',
      `detectMode auto needs root=/dev/… on the kernel command line, found ${found}; name the partitions in full`,
    );
  }
  const prefix = root.replace(/\d+$/, '');
  return partitions.map((name) => (TAG.test(name) || name.startsWith('/') ? name : `${prefix}${name}`));
}

/** The device of a name or tag. Throws `notFound`. */
export async function findDevice(name: string, signal: AbortSignal): Promise<string> {
  if (TAG.test(name)) {
    const { exitCode, output } = await execProgram('findfs', [name], { signal, timeoutMs: TIMEOUT_MS });
    if (exitCode !== 0) throw new AosError('notFound', `no partition of this host has ${name}`);
    return output.trim();
  }
  try {
    return await realpath(name);
  } catch (error) {
    throw asAosError(error, `there is no partition ${name}`);
  }
}

export interface PartitionPlace {
  /** GUID in the partition table, lower case. */
  readonly guid: string;
  readonly number: number;
  readonly startSector: number;
  readonly sectors: number;
}

/** Throws `notFound` for a device that is no partition of a GPT disk. */
export async function partitionPlace(device: string, signal: AbortSignal): Promise<PartitionPlace> {
  const output = await mustExec('blkid', ['-p', '-o', 'export', device], { signal, timeoutMs: TIMEOUT_MS });
  const guid = parseExport(output).get('PART_ENTRY_UUID')?.toLowerCase();
  if (guid === undefined || guid.length !== 36) {
    throw new AosError('notFound', `${device} is no partition of a disk with a GPT table`);
  }
  const at = join('/sys/class/block', basename(await realpath(device)));
  const [number, startSector, sectors] = await Promise.all(
    ['partition', 'start', 'size'].map(async (name) => Number(await readFile(join(at, name), 'utf8'))),
  );
  return { guid, number: number!, startSector: startSector!, sectors: sectors! };
}

/** Lines `NAME=value` of `blkid -o export`. */
export function parseExport(output: string): Map<string, string> {
  const pairs = output.split('\n').flatMap((line) => {
    const at = line.indexOf('=');
    return at > 0 ? [[line.slice(0, at), line.slice(at + 1).replaceAll('\\ ', ' ')] as const] : [];
  });
  return new Map(pairs);
}
