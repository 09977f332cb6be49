/**
 * Programs of Debian packages that would start a service where they are installed: `./dev` takes them, and the libraries
 * that the host lacks, out of their packages (devenv/debian-programs.txt).
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT_ROOT } from './project.ts';

/** Stands for the root of a Debian in which they are installed. */
export const DEBIAN_ROOT = join(PROJECT_ROOT, 'build', 'debian', 'root');

/** Where the program of a package lies; on the host if somebody has installed it there. Throws naming the way to get it. */
export function debianProgram(path: string): string {
  const found = [join(DEBIAN_ROOT, path), path].find((place) => existsSync(place));
  if (found === undefined) throw new Error(`${path} is missing; ./dev takes it out of its Debian package`);
  return found;
}

/** What these programs need in their environment to find their libraries. */
export function debianEnvironment(): Readonly<Record<string, string>> {
  const roots = ['lib', 'usr/lib'].map((name) => join(DEBIAN_ROOT, name)).filter((path) => existsSync(path));
  const places = roots.flatMap((root) =>
    readdirSync(root)
      .filter((name) => name.endsWith('-linux-gnu'))
      .map((name) => join(root, name)),
  );
  return places.length === 0 ? {} : { LD_LIBRARY_PATH: places.join(':') };
}
