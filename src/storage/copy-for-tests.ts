/** Opens a database, writes a text into it if there is one, and copies it; started by a test that lets it die on the way. */
import { silentLogger } from '../core/index.ts';
import { openDatabase } from './database.ts';
import { DatabaseCopy } from './database-copy.ts';

const [path = '', text = ''] = process.argv.slice(2);
const database = await openDatabase(path, ['CREATE TABLE texts (text TEXT) STRICT'], silentLogger);
if (text) {
  database.prepare('DELETE FROM texts').run();
  database.prepare('INSERT INTO texts VALUES (?)').run(text);
}
const copy = new DatabaseCopy({ database, path, logger: silentLogger });
copy.refresh();
await copy.stop();
database.close();
