/** A program of aoscore. */
export interface Program {
  readonly name: string;
  /** The room that it lives in. */
  readonly room: string;
  /** Words with which the build runs it once, so that V8 keeps the functions of each start; `make-code-cache.ts` knows them. */
  readonly warmUp: readonly string[];
}

export const PROGRAMS = [
  { name: 'aos-iam', room: 'iam', warmUp: ['start', 'iam'] },
  { name: 'aos-cm', room: 'cm', warmUp: ['start', 'cm'] },
  { name: 'aos-sm', room: 'sm', warmUp: ['start', 'sm'] },
  { name: 'aos-mp', room: 'mp', warmUp: ['--check', 'config', '-c', 'packaging/examples/mp.cfg'] },
  { name: 'aos-cloud', room: 'cloud', warmUp: ['--help'] },
  { name: 'aosctl', room: 'cli', warmUp: ['--help'] },
] as const satisfies readonly Program[];

export type ProgramName = (typeof PROGRAMS)[number]['name'];

/**
 * The programs that a command line names, `aos-sm` or `sm`; all when it names none. Throws naming those that there are.
 */
export function chosenPrograms(words: readonly string[], all: readonly Program[] = PROGRAMS): readonly Program[] {
  if (words.length === 0) return all;
  const strange = words.find((word) => !all.some((program) => isCalled(program, word)));
  if (strange !== undefined) {
    throw new Error(`"${strange}" is no program: expected ${all.map(({ name }) => name).join(', ')}`);
  }
  return all.filter((program) => words.some((word) => isCalled(program, word)));
}

const isCalled = ({ name }: Program, word: string): boolean => name === word || name === `aos-${word}`;
