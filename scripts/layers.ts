/**
 * The rules of the house about imports: rooms form levels, imports go down, and into another room only through its
 * door. Pure; `check-layers.ts` reads the files.
 */
import { posix } from 'node:path';

export interface SourceFile {
  /** From the root of the project, with `/`. */
  readonly path: string;
  readonly imports: readonly string[];
}

export interface Violation {
  readonly file: string;
  readonly import: string;
  readonly because: string;
}

/** Rooms by level, the lowest last. A room imports from levels below its own. */
const LEVELS: readonly (readonly string[])[] = [
  ['cm', 'sm', 'iam', 'mp', 'cloud', 'cli'],
  ['daemon'],
  ['storage', 'platform', 'api', 'protocol', 'oci'],
  ['core'],
];

/** What stands open beside the doors: the contracts, which are generated and belong to nobody. */
const OPEN_FILES = /^src\/api\/(?:contracts\.ts|gen\/)/;

/** Harnesses look into every room on purpose. */
const EXEMPT = /^(?:test|devenv|scripts|bench)\//;

interface Place {
  readonly level: number;
  /** The room, or for `platform` the adapter, which is a room of its own: `platform/nft`. */
  readonly room: string;
  /** The path inside of the room. */
  readonly inside: string;
}

function placeOf(path: string): Place | undefined {
  const [top, first, ...rest] = path.split('/');
  if (top !== 'src' || first === undefined || rest.length === 0) return undefined;
  const level = LEVELS.findIndex((rooms) => rooms.includes(first));
  if (level < 0) return undefined;
  if (first !== 'platform') return { level, room: first, inside: rest.join('/') };
  return { level, room: `platform/${rest[0]}`, inside: rest.slice(1).join('/') };
}

/** Why `from` may not import `to` (both paths from the root), or undefined when it may. */
function refuse(from: string, to: string): string | undefined {
  const here = placeOf(from);
  if (!here) return `${from} is in no room of the house (${LEVELS.flat().join(', ')})`;
  const there = placeOf(to);
  if (!there) {
    return to.startsWith('src/') ? `${to} is in no room of the house` : 'a room imports nothing from outside of src';
  }
  if (here.room === there.room) return undefined;
  const isTest = /(?:\.test|\.suite|-for-tests)\.ts$/.test(from);
  // Helpers of tests are in no program; a test takes them from wherever they are.
  if (isTest && to.endsWith('-for-tests.ts')) return undefined;
  if (there.level < here.level) return `${here.room} is below ${there.room}; imports go down`;
  const siblings = there.level === here.level;
  if (siblings && here.level === 0) return `the programs ${here.room} and ${there.room} never import each other`;
  if (siblings && !(here.room.startsWith('platform/') && there.room.startsWith('platform/'))) {
    return `${here.room} and ${there.room} stand side by side; imports go down`;
  }
  if (there.inside !== 'index.ts' && !OPEN_FILES.test(to) && !isTest) {
    return `${there.room} is entered through its index.ts`;
  }
  return undefined;
}

/** Every import that breaks a rule. */
export function checkLayers(files: readonly SourceFile[]): Violation[] {
  return files
    .filter((file) => !EXEMPT.test(file.path))
    .flatMap((file) =>
      file.imports
        .filter((specifier) => specifier.startsWith('.'))
        .flatMap((specifier) => {
          const because = refuse(file.path, posix.join(posix.dirname(file.path), specifier));
          return because === undefined ? [] : [{ file: file.path, import: specifier, because }];
        }),
    );
}

const IMPORT =
  /^\s*(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm;

/** The module specifiers of a source text: static, re-exported and dynamic. */
export function importsOf(source: string): string[] {
  return [...source.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3]!);
}
