/** Which directories of the node containers may see (spec/decisions.md 4.2). */
import { createHash } from 'node:crypto';
import { lstat, mkdir, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { AosError, asAosError } from '../../core/index.ts';
import { ensureDirectory, syncDirectory, temporaryName } from '../../storage/index.ts';
import type { HostEntry } from './compose-root.ts';

const DEFAULT_HOST_BINDS: readonly string[] = ['bin', 'sbin', 'lib', 'lib64', 'usr'];

/** As a whole they show what is none of a service's business. */
const UNSAFE = new Set(['', 'proc', 'sys', 'dev', 'run', 'var', 'root', 'home', 'boot', 'tmp', 'etc']);

/** What stands at a configured path of the host. */
export interface HostFact {
  readonly path: string;
  readonly kind: 'directory' | 'file' | 'link';
  /** Text of a link. */
  readonly target?: string;
}

/**
 * The configured paths in their plain form, without those that lie below another. Throws `invalidArgument` for paths
 * that would show more of the node than system directories, unless that is allowed.
 */
export function parseHostBinds(hostBinds: readonly string[], allowUnsafe: boolean): string[] {
  const paths = (hostBinds.length > 0 ? hostBinds : DEFAULT_HOST_BINDS).map((text) => {
    const path = posix.join('/', text).replace(/^\/+|\/+$/g, '');
    if (path === '' || (UNSAFE.has(path) && !allowUnsafe)) {
      throw new AosError(
        'invalidArgument',
        `hostBinds: "${text}" would show /${path} of the node to every service; name directories below it${path === '' ? '' : ', or set allowUnsafeHostBinds'}`,
      );
    }
    if (text.split('/').includes('..') || /[:,\\"\n\0]/.test(path)) {
      throw new AosError(
        'invalidArgument',
        `hostBinds: "${text}" is not a plain path such as "usr" or "etc/alternatives"`,
      );
    }
    return path;
  });
  const unique = [...new Set(paths)].sort();
  return unique.filter((path) => !unique.some((other) => path.startsWith(`${other}/`)));
}

/** What the host has at the paths; what is missing is left out. */
export async function readHostFacts(paths: readonly string[], hostRoot: string): Promise<HostFact[]> {
  const facts: HostFact[] = [];
  for (const path of paths) {
    const full = join(hostRoot, path);
    try {
      const found = await lstat(full);
      if (found.isSymbolicLink()) facts.push({ path, kind: 'link', target: await readlink(full) });
      else if (found.isDirectory()) facts.push({ path, kind: 'directory' });
      else if (found.isFile()) facts.push({ path, kind: 'file' });
    } catch (error) {
      if (asAosError(error).code !== 'notFound') throw asAosError(error, `cannot look at ${full}`);
    }
  }
  return facts;
}

/** Those that are mounted; links are part of the skeleton. */
export function hostEntries(facts: readonly HostFact[], hostRoot: string): HostEntry[] {
  return facts.flatMap(({ path, kind }) => (kind === 'link' ? [] : [{ path, kind, source: join(hostRoot, path) }]));
}

/**
 * Makes the skeleton of the node: its links and empty mount points, nothing else. Named by its content, since running
 * containers have the present one mounted. Answers its directory; repeating it changes nothing.
 */
export async function ensureSkeleton(facts: readonly HostFact[], baseDir: string): Promise<string> {
  const name = createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 16);
  const directory = join(baseDir, name);
  const exists = await lstat(directory).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (exists) return directory;
  await ensureDirectory(baseDir);
  const temporary = temporaryName(directory);
  try {
    await mkdir(temporary, { mode: 0o755 });
    for (const fact of facts) {
      const path = join(temporary, fact.path);
      await mkdir(dirname(path), { recursive: true, mode: 0o755 });
      if (fact.kind === 'link') await symlink(fact.target ?? '', path);
      else if (fact.kind === 'directory') await mkdir(path, { mode: 0o755 });
      else await writeFile(path, '', { mode: 0o644 });
    }
    await rename(temporary, directory);
    await syncDirectory(baseDir);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw asAosError(error, `cannot make ${directory}`);
  }
  return directory;
}
