/** The database of the CM: one file, each module with tables of its own (spec/decisions.md CM-60, 6.5). */
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Logger } from '../core/index.ts';
import { type Migration, openDatabase } from '../storage/index.ts';
import { EVENT_TABLES } from './events/index.ts';
import { IMAGE_TABLES } from './images/index.ts';
import { LAUNCHER_TABLES } from './launcher/index.ts';
import { LINK_TABLES } from './link/index.ts';
import { NETWORK_TABLES } from './networks/index.ts';
import { STATE_TABLES } from './storage-state/index.ts';
import { takeOver } from './switch-over/index.ts';
import { GATE_TABLES, UPDATE_TABLES } from './updates/index.ts';

/** The index is the version that a step starts from; steps are never changed, only added. */
export const CM_MIGRATIONS: readonly Migration[] = [
  [
    UPDATE_TABLES,
    IMAGE_TABLES,
    LAUNCHER_TABLES,
    LINK_TABLES,
    NETWORK_TABLES,
    STATE_TABLES,
    EVENT_TABLES,
    GATE_TABLES,
  ].join('\n'),
];

/** Its own name beside that of the C++ implementation, whose file is never written. */
export const DATABASE_FILE = 'aos-cm.db';

export async function openCmStore(workingDir: string, logger: Logger): Promise<DatabaseSync> {
  const path = join(workingDir, DATABASE_FILE);
  const open = (at: string) => openDatabase(at, CM_MIGRATIONS, logger);
  await takeOver({ path, open, now: new Date(), logger });
  return open(path);
}
