/**
 * The rules of the house about imports: rooms form levels, imports go down, and into another room only through its
 * door; neither folders of a program nor files import each other in a circle. Pure; `check-layers.ts` reads the files.
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

const TEST_FILE = /(?:\.test|\.suite|-for-tests)\.ts$/;
/** Tests and what only they use, which is in no program. */
const TEST_PART = /(?:\.test|\.suite|-for-tests)\.ts$|\/for-tests\//;

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
  const isTest = TEST_FILE.test(from);
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
  const imports = files
    .filter((file) => !EXEMPT.test(file.path))
    .flatMap((file) =>
      file.imports
        .filter((specifier) => specifier.startsWith('.'))
        .map((specifier) => ({
          file: file.path,
          import: specifier,
          to: posix.join(posix.dirname(file.path), specifier),
        })),
    );
  const refused = imports.flatMap((found) => {
    const because = refuse(found.file, found.to);
    return because === undefined ? [] : [{ file: found.file, import: found.import, because }];
  });
  return [
    ...refused,
    ...circles(imports, folderOf, 'folders know each other one way'),
    ...circles(imports, fileOf, 'files know each other one way'),
  ];
}

interface Import {
  readonly file: string;
  readonly import: string;
  readonly to: string;
}

/** A folder of a program, as `cm/images`. Files beside the folders put them together, or are words of them all. */
function folderOf(path: string): string | undefined {
  const [top, program, folder, ...rest] = path.split('/');
  return top === 'src' && LEVELS[0]!.includes(program ?? '') && rest.length > 0 ? `${program}/${folder}` : undefined;
}

/** Of the house. What two files share is a matter of a third one. */
function fileOf(path: string): string | undefined {
  return path.startsWith('src/') ? path : undefined;
}

/** The first import of each place into another that leads back. */
function circles(imports: readonly Import[], unitOf: (path: string) => string | undefined, rule: string): Violation[] {
  const arrows = new Map<string, Map<string, Import>>();
  for (const found of imports) {
    const [from, to] = [unitOf(found.file), unitOf(found.to)];
    if (from === undefined || to === undefined || from === to || TEST_PART.test(found.file)) continue;
    const known = arrows.get(from) ?? new Map<string, Import>();
    arrows.set(from, known);
    if (!known.has(to)) known.set(to, found);
  }
  return [...arrows].flatMap(([from, known]) =>
    [...known].flatMap(([to, { file, import: specifier }]) => {
      const way = wayBetween(arrows, to, from);
      if (!way) return [];
      return [
        {
          file,
          import: specifier,
          because: `${[from, ...way].join(' → ')} is a circle; ${rule}`,
        },
      ];
    }),
  );
}

/** The shortest way along the arrows, both ends in it; undefined where there is none. */
function wayBetween(
  arrows: ReadonlyMap<string, ReadonlyMap<string, Import>>,
  start: string,
  end: string,
): string[] | undefined {
  const ways = [[start]];
  const seen = new Set([start]);
  for (const way of ways) {
    const here = way.at(-1)!;
    if (here === end) return way;
    for (const next of arrows.get(here)?.keys() ?? []) {
      if (seen.has(next)) continue;
      seen.add(next);
      ways.push([...way, next]);
    }
  }
  return undefined;
}

const IMPORT =
  /^\s*(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm;

/** The module specifiers of a source text: static, re-exported and dynamic. */
export function importsOf(source: string): string[] {
  return [...source.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3]!);
}
