/** What a CM does with the state of one instance: in the process of a test, or in one that dies on the way. */
import { openTestStorage } from './open-storage-for-tests.ts';
import { stateChecksumOf } from './state-file.ts';

export type Act = 'start' | 'prepare' | 'remove' | 'update';

const ident = { itemId: 'item', subjectId: 'subject', instance: 0, type: 'service', preinstalled: false } as const;

/** Starts, does one thing, and stops. */
export async function act(directory: string, what: Act, state = ''): Promise<void> {
  const { database, storage } = openTestStorage(directory);
  await storage.start();
  if (what === 'prepare') await storage.prepare({ ident, uid: 5000, gid: 5001, storageQuota: 4096, stateQuota: 1024 });
  if (what === 'remove') await storage.remove(ident);
  if (what === 'update') {
    const names = { item: { id: 'item' }, subject: { id: 'subject' }, instance: 0 };
    await storage.update({ messageType: 'updateState', ...names, stateChecksum: stateChecksumOf(state), state });
  }
  await storage.stop();
  database.close();
}
