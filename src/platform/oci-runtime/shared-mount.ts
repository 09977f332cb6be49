/** A directory whose mounts are seen in other mount namespaces too. */
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AosError, faultPoint } from '../../core/index.ts';
import { execProgram, quote } from '../program/index.ts';

const TIMEOUT_MS = 10_000;
interface MountPoint {
  readonly path: string;
  readonly isShared: boolean;
}

/** Reads /proc/self/mountinfo (proc(5)): optional fields stand before the hyphen. */
function mountPoints(text: string): MountPoint[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const fields = (line.split(' - ')[0] ?? '').split(' ');
      return { path: fields[4] ?? '', isShared: fields.slice(6).some((field) => field.startsWith('shared:')) };
    });
}

/** Whether mounts below the directory reach other namespaces: what the mount has on which it lies decides. */
export function isShared(directory: string, mountinfo: string): boolean {
  const around = mountPoints(mountinfo).filter(
    ({ path }) => directory === path || directory.startsWith(join(path, '/')),
  );
  const longest = Math.max(0, ...around.map(({ path }) => path.length));
  // Of several at one place the last one is seen.
  return around.findLast(({ path }) => path.length === longest)?.isShared ?? false;
}

/** Makes it a mount point of its own that shares what is mounted below, unless its surroundings do already. */
export async function shareDirectory(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o755 });
  if (isShared(directory, readFileSync('/proc/self/mountinfo', 'utf8'))) return;
  faultPoint('oci-runtime.share');
  const script = 'mount --bind "$0" "$0" && mount --make-shared "$0"';
  const options = { signal: AbortSignal.timeout(TIMEOUT_MS), timeoutMs: TIMEOUT_MS };
  const { exitCode, output } = await execProgram('sh', ['-c', script, directory], options);
  if (exitCode !== 0)
    throw new AosError('runtime', `cannot share mounts below ${directory}: ${quote(output)}`, { exitCode });
}

/** Undoes it when nothing is mounted below any more; else it stays for the next one. */
export async function unshareDirectory(directory: string): Promise<void> {
  const points = mountPoints(readFileSync('/proc/self/mountinfo', 'utf8'));
  if (!points.some(({ path }) => path === directory) || points.some(({ path }) => path.startsWith(`${directory}/`)))
    return;
  const options = { signal: AbortSignal.timeout(TIMEOUT_MS), timeoutMs: TIMEOUT_MS };
  // One that is in use stays; it does no harm.
  await execProgram('umount', [directory], options);
}
