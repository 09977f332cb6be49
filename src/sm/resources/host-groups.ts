/** Groups of the host by name. */
import { readFile } from 'node:fs/promises';
import { AosError, asAosError } from '../../core/index.ts';

/** Reads the text of a group file: `name:password:gid:members`. */
export function parseGroups(text: string): ReadonlyMap<string, number> {
  const groups = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [name, , gid] = line.split(':');
    if (name && gid && /^\d+$/.test(gid) && !groups.has(name)) groups.set(name, Number(gid));
  }
  return groups;
}

/** Numbers of groups, each once, in order. Throws `notFound` naming the group that the host lacks. */
export async function groupIds(names: readonly string[], path = '/etc/group'): Promise<number[]> {
  if (names.length === 0) return [];
  const groups = parseGroups(
    await readFile(path, 'utf8').catch((error: unknown) => {
      throw asAosError(error, 'cannot read the groups of this node');
    }),
  );
  const gids = names.map((name) => {
    const gid = groups.get(name);
    if (gid === undefined)
      throw new AosError('notFound', `this node has no group "${name}"`, { fields: { group: name } });
    return gid;
  });
  return [...new Set(gids)];
}
