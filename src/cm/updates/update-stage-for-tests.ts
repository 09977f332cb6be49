/** An update manager for each test, on a unit in memory and a database. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, vi } from 'vitest';
import { silentLogger, type UpdateState } from '../../core/index.ts';
import type { DesiredStatus } from '../../protocol/index.ts';
import { openDatabase } from '../../storage/index.ts';
import type { UpdateManager } from './update-manager.ts';
import { UPDATE_TABLES } from './update-store.ts';
import { Unit } from './update-unit-for-tests.ts';

let directory: string;
export let database: DatabaseSync;
export let unit: Unit;
export let manager: UpdateManager;

export const storedState = () =>
  (database.prepare('SELECT state FROM update_run').get() as { state: UpdateState } | undefined)?.state;
export const settled = () => vi.waitFor(() => expect(manager.state.state).toBe('none'));
export const reaches = (state: UpdateState) => vi.waitFor(() => expect(manager.state.state).toBe(state));

export async function run(status: DesiredStatus): Promise<void> {
  const before = unit.fullStatuses;
  manager.accept(status);
  await vi.waitFor(() => expect(unit.fullStatuses).toBe(before + 1));
}

/** Another one on the same database, as after a restart; the former one must be stopped. */
export function makeManager(): void {
  manager = unit.manager(database);
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cm-updates-'));
  database = await openDatabase(join(directory, 'cm.db'), [UPDATE_TABLES], silentLogger);
  unit = new Unit();
  makeManager();
  manager.start();
});

afterEach(async () => {
  await manager.stop();
  database.close();
  await rm(directory, { recursive: true, force: true });
});
