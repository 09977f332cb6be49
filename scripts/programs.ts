/** A program of aoscore. */
export interface Program {
  readonly name: string;
  /** The room that it lives in. */
  readonly room: string;
  /** Words with which the build runs it once, so that V8 keeps the functions of each start; relative to the project. */
  readonly warmUp: readonly string[];
}

export const PROGRAMS = [
  { name: 'aos-iam', room: 'iam', warmUp: ['--check', 'config', '-c', 'packaging/etc/aos/iam.cfg'] },
  { name: 'aos-cm', room: 'cm', warmUp: ['--check', 'config', '-c', 'packaging/etc/aos/cm.cfg'] },
  { name: 'aos-sm', room: 'sm', warmUp: ['--check', 'config', '-c', 'packaging/etc/aos/sm.cfg'] },
  { name: 'aos-mp', room: 'mp', warmUp: ['--check', 'config', '-c', 'packaging/examples/mp.cfg'] },
  { name: 'aos-cloud', room: 'cloud', warmUp: ['--help'] },
  { name: 'aosctl', room: 'cli', warmUp: ['--help'] },
] as const satisfies readonly Program[];

export type ProgramName = (typeof PROGRAMS)[number]['name'];
