/** Nodes from the database of the C++ program, read once so that those that are off stay known (spec/decisions.md 6.2). */
import { existsSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { Logger } from '../../core/index.ts';
import { type NodeInfo, parseStoredNode } from '../node-info.ts';

/** Empty when there is no such database or it cannot be read: that is a warning, never an error. */
export function readFormerNodes(path: string, logger: Logger): NodeInfo[] {
  if (!existsSync(path)) return [];
  try {
    const database = new DatabaseSync(path, { readOnly: true });
    try {
      const rows = database.prepare('SELECT info FROM nodeinfo').all() as { info: string }[];
      return rows.map(({ info }) => parseStoredNode(info)).filter(({ state }) => state !== 'unprovisioned');
    } finally {
      database.close();
    }
  } catch (error) {
    logger.warn({ path, error: String(error) }, 'the former database cannot be read; nodes appear as they register');
    return [];
  }
}
