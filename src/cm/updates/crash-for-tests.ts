/** One act on a database that dies where `AOS_FAULT` says: `<database> roll-back|lock|unlock`. */
import { silentLogger, systemClock } from '../../core/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { ReleaseRule } from './release-rules.ts';
import { GATE_TABLES, UpdateGate } from './update-gate.ts';
import { UPDATE_TABLES, UpdateStore } from './update-store.ts';

const [path = '', act] = process.argv.slice(2);
const database = await openDatabase(path, [UPDATE_TABLES + GATE_TABLES], silentLogger);
const error = { aosCode: 7, exitCode: 0, message: 'did not become active' };
const gate = new UpdateGate({
  database,
  rules: { sota: ReleaseRule.parse({}), fota: ReleaseRule.parse({}) },
  events: { record: () => undefined },
  clock: systemClock,
  logger: silentLogger,
});
if (act === 'roll-back') {
  const rejected = [{ itemId: 'web', version: '2', indexDigest: 'sha256:00', error }];
  new UpdateStore(database).rollBack(rejected, 'downloading', 2);
}
if (act === 'lock') gate.lock({ owner: 'drive', reason: 'the car moves', duration: 3_600_000 });
if (act === 'unlock') gate.unlock('drive');
database.close();
