/** The end of former instances, over a database and directories: in the process of a test, or in one that dies on the way. */
import { silentLogger, systemClock } from '../../core/index.ts';
import type { StorageState } from '../storage-state/index.ts';
import { openTestStorage } from '../storage-state/open-storage-for-tests.ts';
import { FormerInstances } from './former-instances.ts';
import { InstanceStore } from './instance-store.ts';
import type { InstanceStorage } from './schedule.ts';

export interface Former {
  readonly store: InstanceStore;
  readonly storage: StorageState;
  readonly former: FormerInstances;
}

/** Does one thing as a CM does that has just started; `ttlMs` is how long former instances are kept. */
export async function withFormer<T>(
  directory: string,
  ttlMs: number,
  act: (parts: Former) => Promise<T>,
  more: Partial<InstanceStorage> = {},
): Promise<T> {
  const { database, storage } = openTestStorage(directory);
  await storage.start();
  const store = new InstanceStore(database);
  const instanceStorage: InstanceStorage = {
    owners: () => storage.owners(),
    prepare: (request) => storage.prepare(request),
    release: (ident) => storage.release(ident),
    remove: (ident) => storage.remove(ident),
    budgets: () => storage.budgets(),
    stateChecksum: (ident) => storage.stateChecksum(ident),
    ...more,
  };
  const former = new FormerInstances({
    ...{ store, storage: instanceStorage, ttlMs },
    ...{ clock: systemClock, logger: silentLogger },
  });
  try {
    return await act({ store, storage, former });
  } finally {
    await storage.stop();
    database.close();
  }
}
