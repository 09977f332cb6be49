/** What layers have at the places of node directories (spec/decisions.md 4.2). */
import { lstat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AosError, asAosError } from '../../core/index.ts';
import { readLayerInfo } from '../images/index.ts';
import type { HostEntry, LayerFacts, LayerView } from './compose-root.ts';

/** Throws `notFound` for a directory that is no complete layer. */
export async function readLayerFacts(directory: string, entries: readonly HostEntry[]): Promise<LayerFacts> {
  const info = await readLayerInfo(dirname(directory));
  if (!info) throw new AosError('notFound', `${directory} is no complete layer`);
  const opaque = new Set(info.opaque);
  const views: Record<string, LayerView> = {};
  for (const { path } of entries) views[path] = await viewOf(directory, path, opaque);
  const hidesAll = opaque.has('');
  if (!info.hasFloor) return { directory, hidesAll, views };
  const floor = join(dirname(directory), 'floor');
  const below: string[] = [];
  for (const { path } of entries) {
    if ((await viewOf(floor, path, NONE)) === 'directory') below.push(path);
  }
  return { directory, hidesAll, views, floor: { directory: floor, below } };
}

const NONE: ReadonlySet<string> = new Set();

/** Every part of the path counts: a link on the way hides the node's directory as well as one at its end. */
async function viewOf(directory: string, path: string, opaque: ReadonlySet<string>): Promise<LayerView> {
  const parts = path.split('/');
  for (let count = 1; count <= parts.length; count += 1) {
    const part = parts.slice(0, count).join('/');
    try {
      if (!(await lstat(join(directory, part))).isDirectory()) return 'hides';
    } catch (error) {
      const aos = asAosError(error, `cannot look into layer ${directory}`);
      if (aos.code === 'notFound') return 'absent';
      throw aos;
    }
    // What is hidden of a parent is hidden of its parts, whether or not the layer has them.
    if (opaque.has(part)) return 'hides';
  }
  return 'directory';
}
