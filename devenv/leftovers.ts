/**
 * What daemons that were killed leave on the host: processes, containers, mounts, network namespaces, cgroups. Only
 * what belongs to one directory of the development environment is looked for, and removed.
 */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { readFile, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { startTimeOf } from './daemon-process.ts';
import { cloudLayout, type UnitLayout, unitLayout } from './layout.ts';
import { removeNamespace } from './own-network.ts';

const run = promisify(execFile);

const PROCESS_GONE_TIMEOUT_MS = 10_000;

/** Octal escapes of /proc/self/mountinfo. */
const unescapeMount = (text: string) =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

function isInside(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory}/`);
}

/** Mount points inside of a directory, the latest first. */
export function mountsInside(directory: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => unescapeMount(line.split(' ')[4]!))
    .filter((mountPoint) => isInside(mountPoint, directory))
    .reverse();
}

/** Processes that were started from, or work in, a directory of the environment. */
export function processesOf(directory: string): number[] {
  const found: number[] = [];
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      const ours =
        words.some((word) => word.includes(`${directory}/`)) || isInside(readlinkSync(`/proc/${pid}/cwd`), directory);
      if (ours && isSupervised(words)) found.push(pid);
    } catch {
      // It ended while we looked, or it is a thread of the kernel.
    }
  }
  return found;
}

/** Programs that this environment starts; a person's editor or shell in the directory is none of our business. */
function isSupervised(words: readonly string[]): boolean {
  return words.some((word) =>
    /(?:^|\/)(?:conmon|crun|runc|dnsmasq|unit-ports|aos-(?:cm|sm|iam|mp|cloud)\.mjs)$/.test(word),
  );
}

/** Ids of the instances that a unit has, or had, containers for. */
function instanceIds(layout: UnitLayout): string[] {
  const list = (directory: string) => (existsSync(directory) ? readdirSync(directory) : []);
  return [...new Set([...list(layout.bundles), ...list(layout.ociState)])];
}

async function removeContainer(layout: UnitLayout, id: string): Promise<void> {
  for (const runtime of ['crun', 'runc']) {
    // One of the two knows it, and neither if it never came to be.
    await run(runtime, ['--root', layout.ociState, 'delete', '--force', id]).catch((error: Error) => error);
  }
}

/** Cgroups of an instance in every hierarchy, deepest first. */
async function removeCgroups(id: string): Promise<void> {
  const found = await run('find', ['/sys/fs/cgroup', '-depth', '-type', 'd', '-path', `*/${id}*`]).catch(
    () => undefined,
  );
  for (const path of found?.stdout.split('\n').filter(Boolean) ?? []) {
    await rmdir(path).catch((error: Error) => console.error(`cannot remove the cgroup ${path}: ${error.message}`));
  }
}

async function endProcess(pid: number): Promise<void> {
  const startTime = startTimeOf(pid);
  if (startTime === undefined) return;
  process.kill(pid, 'SIGKILL');
  const deadline = performance.now() + PROCESS_GONE_TIMEOUT_MS;
  while (startTimeOf(pid) === startTime && performance.now() < deadline) await sleep(20);
}

/** Ends the process that a pid file remembers, if it is still the same one. */
async function endRemembered(pidFile: string): Promise<void> {
  if (!existsSync(pidFile)) return;
  const { pid, startTime } = JSON.parse(await readFile(pidFile, 'utf8')) as { pid: number; startTime?: string };
  if (startTime !== undefined && startTimeOf(pid) === startTime) await endProcess(pid);
  await rm(pidFile, { force: true });
}

/** Gives back everything on the host that belongs to a unit; repeating it changes nothing. */
export async function removeLeftovers(directory: string): Promise<void> {
  const layout = unitLayout(directory);
  const pidFiles = existsSync(layout.run) ? readdirSync(layout.run).filter((name) => name.endsWith('.pid')) : [];
  for (const name of pidFiles) await endRemembered(join(layout.run, name));
  for (const pid of processesOf(layout.root)) await endProcess(pid);
  for (const id of instanceIds(layout)) {
    await removeContainer(layout, id);
    if (existsSync(join('/run/netns', id))) await run('ip', ['netns', 'delete', id]);
    await removeCgroups(id);
  }
  await removeNamespace(layout.root);
  for (const mountPoint of mountsInside(layout.root)) await run('umount', ['--lazy', mountPoint]);
  await rm(layout.run, { recursive: true, force: true });
}

/** The same for a cloud: its process is all that it can leave. */
export async function removeCloudLeftovers(directory: string): Promise<void> {
  const layout = cloudLayout(directory);
  await endRemembered(join(layout.root, 'aos-cloud.pid'));
  for (const pid of processesOf(layout.root)) await endProcess(pid);
}
