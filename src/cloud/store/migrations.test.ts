import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { wantedOn } from '../domain/facts.ts';
import { openCloudDatabase } from './cloud-database.ts';
import { MIGRATIONS } from './migrations.ts';

const LIMITS = {
  messages: 100,
  alerts: 100,
  samples: { maxAgeMs: 1000, maxCount: 100 },
  logs: { maxAgeMs: 1000, maxBytes: 1000 },
};
/** Before there were roles, subjects and campaigns. */
const FORMER = 3;

test('a database of the first cloud keeps its units, certificates, items and deployments', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'aos-cloud-migration-'));
  const path = join(directory, 'cloud.db');
  try {
    const old = await openDatabase(path, MIGRATIONS.slice(0, FORMER), silentLogger);
    old.exec(`
      INSERT INTO units (systemId, status, modelName, modelVersion, nodes, secureData, registration, answer, provisionedAt)
        VALUES ('u', 'provisioned', 'demo', '1.0', '[]', '{"nodes":{"main":"pw"}}', 'd', '{}', '2026-01-01T00:00:00.000Z');
      INSERT INTO certificates (fingerprint, serial, role, notAfter, issuedAt)
        VALUES ('F', '01', 'operator', '2036-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z');
      INSERT INTO items (itemId, version, type, title, owner, indexDigest, publishedAt, defaults)
        VALUES ('web', '1.0.0', 'service', 'Web', 'sp', 'sha256:0', '2026-01-01T00:00:00.000Z', '{}');
      INSERT INTO deployments (systemId, itemId, version, subject, numInstances, priority, labels)
        VALUES ('u', 'web', '1.0.0', 'default', 2, 3, '["x"]');`);
    old.close();
    const database = await openCloudDatabase(path, LIMITS, silentLogger);
    await database.read(async (stores) => {
      expect(await stores.units.list()).toMatchObject([{ systemId: 'u', fleet: '' }]);
      expect(await stores.units.nodePasswords('u')).toEqual({ main: 'pw' });
      expect(await stores.certificates.find('F')).toMatchObject({ role: 'operator', userName: null });
      expect(await stores.items.list()).toMatchObject([{ id: 'web', verification: 'valid' }]);
      expect(await wantedOn(stores, 'u')).toMatchObject([
        { itemId: 'web', version: '1.0.0', subject: 'default', numInstances: 2, priority: 3, labels: ['x'] },
      ]);
    });
    await database.stop();
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
