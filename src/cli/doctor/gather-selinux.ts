/** What a policy of SELinux, which belongs to the image, does to this node (docs/board.md). */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { SelinuxFact } from './facts.ts';

const run = promisify(execFile);

/** Where the kernel shows it; absent without SELinux. */
const KERNEL = '/sys/fs/selinux';

/** Undefined on a kernel without SELinux, which is none of a node's faults. */
export async function lookAtSelinux(
  places: readonly string[],
  kernel = KERNEL,
  contextOf: (path: string) => Promise<string> = contextByStat,
): Promise<SelinuxFact | undefined> {
  let enforce: string;
  try {
    enforce = await readFile(`${kernel}/enforce`, 'utf8');
  } catch {
    // Not mounted, or not built in.
    return undefined;
  }
  const contexts = await Promise.all(places.map(async (path) => [path, await contextOf(path)] as const));
  const unlabelled = contexts.filter(([, context]) => /:unlabeled_t(:|$)|^\?$/.test(context)).map(([path]) => path);
  return { isEnforced: enforce.trim() === '1', unlabelled };
}

async function contextByStat(path: string): Promise<string> {
  // A directory that is not there has no label either; another finding says that it is missing.
  return run('stat', ['--format', '%C', path]).then(
    ({ stdout }) => stdout.trim(),
    () => '',
  );
}
