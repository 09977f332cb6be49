/**
 * An overlay hides its white-outs only in directories that it merges from at least two layers; in others they are
 * listed as names that nothing stands for. A floor has, empty, each directory of a layer that holds white-outs, and
 * lies below everything: so each of them is merged, and nothing else is to be seen of it.
 */
import { mkdir } from 'node:fs/promises';
import { type LayerTree, parentPath } from './layer-tree.ts';
import { rawPath } from './raw-path.ts';

/** Makes the floor of a layer in a new directory; false when it needs none. */
export async function makeWhiteOutFloor(tree: LayerTree, directory: string): Promise<boolean> {
  const parents = new Set<string>();
  for (const [path, node] of tree.nodes) if (node.kind === 'white-out') parents.add(parentPath(path));
  // The top is merged anyway.
  parents.delete('');
  if (parents.size === 0) return false;
  for (const path of parents) await mkdir(rawPath(path, directory), { recursive: true, mode: 0o755 });
  return true;
}
