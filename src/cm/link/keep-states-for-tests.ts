/** Hands two states to a link and acknowledges the second, as a process that a test kills in between. */
import { silentLogger } from '../../core/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { Outbox } from './outbox.ts';
import { LINK_TABLES, SqliteOutboxStore } from './outbox-store.ts';

const database = await openDatabase(process.argv[2]!, [LINK_TABLES], silentLogger);
const outbox = new Outbox(new SqliteOutboxStore(database), {
  maxQueuedMessages: 10,
  maxQueuedBytes: 1000,
  transmissions: 4,
  ackTimeoutMs: 1000,
});
for (const txn of ['old', 'new']) {
  outbox.add({ txn, messageType: 'newState', replaces: 'state i/s/0', durable: true, frame: Buffer.from(txn) });
}
outbox.forget('new');
database.close();
