/** What docs/json.md says of the members of answers, for the tests that compare it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const jsonPage = readFileSync(join(import.meta.dirname, '..', 'docs', 'json.md'), 'utf8');

export interface Member {
  /** With all that leads to it: `cloud.state`, `reasons[].what`. */
  readonly key: string;
  /** Whether it may be absent. */
  readonly isOptional: boolean;
}

/** The rows of the table below a heading. */
export function rowsBelow(heading: string): Member[] {
  const [, section] = jsonPage.split(new RegExp(`^#+ ${heading}$`, 'm'));
  if (section === undefined) throw new Error(`docs/json.md has no heading "${heading}"`);
  return section
    .split(/^#/m)[0]!
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .flatMap((line) => {
      const [keys, , absent] = line.slice(1, -1).split('|');
      return [...keys!.matchAll(/`([^`]+)`/g)].map(([, key]) => ({ key: key!, isOptional: absent!.trim() !== '' }));
    });
}

/** Members of an answer that the table below a heading does not tell, and those that it tells and that are not there. */
export function differences(heading: string, answer: unknown): string[] {
  const rows = rowsBelow(heading);
  const entries = Array.isArray(answer) ? answer : [answer];
  return [...new Set(entries.flatMap((entry) => [...untold(entry, rows), ...missing(entry, rows)]))];
}

function untold(value: object, rows: readonly Member[], prefix = ''): string[] {
  return Object.entries(value).flatMap(([name, member]: [string, unknown]) => {
    const key = prefix + name;
    if (rows.some((row) => row.key === key)) return [];
    const isList = Array.isArray(member);
    const path = `${key}${isList ? '[]' : ''}.`;
    if (typeof member !== 'object' || member === null || !rows.some((row) => row.key.startsWith(path)))
      return [`+${key}`];
    return (isList ? (member as object[]) : [member]).flatMap((one) => untold(one, rows, path));
  });
}

/** Of members of an entry itself. */
function missing(value: object, rows: readonly Member[]): string[] {
  return rows
    .filter(({ key, isOptional }) => !isOptional && !/[.[]/.test(key) && !Object.hasOwn(value, key))
    .map(({ key }) => `-${key}`);
}
