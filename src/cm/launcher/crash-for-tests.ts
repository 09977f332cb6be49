/** Saves one row in a database file; started by a test that lets it die at a fault point. */
import { DatabaseSync } from 'node:sqlite';
import { InstanceStore } from './instance-store.ts';
import { testRow } from './row-for-tests.ts';

const database = new DatabaseSync(process.argv[2]!);
const store = new InstanceStore(database);
store.save({ requests: [], rows: [testRow('a'), testRow('b')] });
