/** The programs of aoscore and the room that each of them lives in. */
export const PROGRAMS = [
  { name: 'aos-iam', room: 'iam' },
  { name: 'aos-cm', room: 'cm' },
  { name: 'aos-sm', room: 'sm' },
  { name: 'aos-mp', room: 'mp' },
  { name: 'aos-cloud', room: 'cloud' },
  { name: 'aosctl', room: 'cli' },
] as const;

export type ProgramName = (typeof PROGRAMS)[number]['name'];
