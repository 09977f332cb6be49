/** Users and groups that the host itself knows (spec/cm.md 4.15). */
import { readFile } from 'node:fs/promises';
import { asAosError } from '../../core/index.ts';
import type { SystemIds } from './schedule.ts';

/** Reads the local databases; throws when one cannot be read. */
export async function readSystemIds(passwd = '/etc/passwd', group = '/etc/group'): Promise<SystemIds> {
  const [uids, gids] = await Promise.all([readIds(passwd), readIds(group)]);
  return { uids, gids };
}

async function readIds(path: string): Promise<ReadonlySet<number>> {
  try {
    const lines = (await readFile(path, 'utf8')).split('\n');
    return new Set(lines.map((line) => Number(line.split(':')[2])).filter(Number.isInteger));
  } catch (error) {
    throw asAosError(error, `cannot read ${path}`);
  }
}
