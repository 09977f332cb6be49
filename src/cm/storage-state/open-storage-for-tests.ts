/** Storage and state over a directory and the database in it, without quotas and without a cloud. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { silentLogger } from '../../core/index.ts';
import { StateStore } from './state-store.ts';
import { StorageState } from './storage-state.ts';

/** Neither is started; the caller stops the one and closes the other. */
export function openTestStorage(directory: string): {
  readonly database: DatabaseSync;
  readonly storage: StorageState;
} {
  const database = new DatabaseSync(join(directory, 'test.db'));
  const storage = new StorageState({
    store: new StateStore(database),
    storageDir: join(directory, 'storages'),
    stateDir: join(directory, 'states'),
    send: () => undefined,
    diskQuota: { setLimit: async () => undefined },
    logger: silentLogger,
  });
  return { database, storage };
}
