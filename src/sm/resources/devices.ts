/** Devices of the host for containers (spec/sm.md 5.6.1). */
import type { Stats } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AosError, asAosError } from '../../core/index.ts';
import type { OciDevice } from '../../platform/oci-runtime/index.ts';

/** A directory of devices deeper or larger than this is a mistake in the resources file. */
const MAX_DEPTH = 8;
const MAX_DEVICES = 1024;

/** `<host path>[:<path in the container>[:…]]`. */
export function parseDevice(text: string): { readonly hostPath: string; readonly containerPath: string } {
  const [hostPath = '', containerPath] = text.split(':');
  return { hostPath, containerPath: containerPath || hostPath };
}

/**
 * The device nodes that a device text stands for. A directory stands for all nodes in it and below it; a symbolic link
 * is a node under its own name. Throws `notFound` or `runtime` naming the path.
 */
export async function findDevices(text: string): Promise<OciDevice[]> {
  const { hostPath, containerPath } = parseDevice(text);
  const stats = await statOf(hostPath);
  if (!stats.isDirectory()) return [toDevice(containerPath, hostPath, stats)];
  const devices: OciDevice[] = [];
  await walk(hostPath, containerPath, 0, new Set(), devices);
  return devices;
}

async function walk(
  hostPath: string,
  containerPath: string,
  depth: number,
  seen: Set<string>,
  devices: OciDevice[],
): Promise<void> {
  const real = await realpath(hostPath);
  // Links between directories may make a circle.
  if (seen.has(real) || depth > MAX_DEPTH) return;
  seen.add(real);
  for (const name of (await readdir(hostPath)).sort()) {
    const [host, container] = [join(hostPath, name), join(containerPath, name)];
    // What vanishes or cannot be read while we look is no device to offer.
    const stats = await stat(host).catch(() => undefined);
    if (stats === undefined) continue;
    if (stats.isDirectory()) await walk(host, container, depth + 1, seen, devices);
    else devices.push(toDevice(container, host, stats));
    if (devices.length > MAX_DEVICES) {
      throw new AosError('outOfRange', `${hostPath} holds more than ${MAX_DEVICES} devices`);
    }
  }
}

async function statOf(path: string): Promise<Stats> {
  try {
    return await stat(path);
  } catch (error) {
    throw asAosError(error, `device ${path}`);
  }
}

function toDevice(path: string, hostPath: string, stats: Stats): OciDevice {
  const node = { path, fileMode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid };
  if (stats.isFIFO()) return { ...node, type: 'p' };
  if (!stats.isBlockDevice() && !stats.isCharacterDevice()) {
    throw new AosError('runtime', `${hostPath} is no device`, { fields: { path: hostPath } });
  }
  const { major, minor } = splitDeviceNumber(BigInt(stats.rdev));
  return { ...node, type: stats.isBlockDevice() ? 'b' : 'c', major, minor };
}

/** The kernel's layout of device numbers: 12 bits and more of the major, 8 bits and more of the minor. */
export function splitDeviceNumber(rdev: bigint): { readonly major: number; readonly minor: number } {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn & 0xffffffffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn & 0xffffffffn);
  return { major: Number(major), minor: Number(minor) };
}
