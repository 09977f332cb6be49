/** What the SM remembers over a power loss (spec/sm.md 12, spec/decisions.md 6). Each room has tables of its own. */
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Logger } from '../core/index.ts';
import { openDatabase } from '../storage/index.ts';
import { IMAGE_TABLES } from './images/index.ts';
import { INSTANCE_TABLES } from './launcher/index.ts';
import { NETWORK_TABLES } from './network/index.ts';
import { SUPERVISION_TABLES } from './supervision/index.ts';

/** Opens `aos-sm.db`; close it when everything that uses it has stopped. */
export function openStore(workingDir: string, logger: Logger): Promise<DatabaseSync> {
  const tables = [INSTANCE_TABLES, IMAGE_TABLES, SUPERVISION_TABLES, NETWORK_TABLES].join('\n');
  return openDatabase(join(workingDir, 'aos-sm.db'), [tables], logger);
}
