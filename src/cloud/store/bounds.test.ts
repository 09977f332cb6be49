/** What units send is kept within bounds of age and size. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import type { PushLog } from '../../protocol/index.ts';
import { type CloudDatabase, openCloudDatabase } from './cloud-database.ts';

const HOUR_MS = 3_600_000;
const NOW = new Date('2026-11-25T12:00:00Z');
const later = (hours: number) => new Date(NOW.getTime() + hours * HOUR_MS);

let directory: string;
let database: CloudDatabase;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cloud-bounds-'));
  database = await openCloudDatabase(
    join(directory, 'cloud.db'),
    {
      ...{ messages: 1000, alerts: 100, samples: { maxAgeMs: HOUR_MS, maxCount: 10 } },
      logs: { maxAgeMs: 24 * HOUR_MS, maxBytes: 100_000 },
    },
    silentLogger,
  );
  for (const systemId of ['flooding', 'modest']) {
    const registration = {
      ...{ systemId, modelName: 'demo', modelVersion: '1.0', nodes: [], secureData: '{}' },
      ...{ requestDigest: systemId, answer: {} },
    };
    await database.write(({ units }) => units.register(registration, NOW));
  }
});

afterAll(async () => {
  await database.stop();
  await rm(directory, { recursive: true, force: true });
});

const part = (number: number, bytes: number, correlationId = 'asked'): PushLog => ({
  ...{ messageType: 'pushLog', correlationId, node: { codename: 'main' }, part: number, partsCount: 100 },
  ...{ status: 'ok', errorInfo: undefined, content: Buffer.alloc(bytes).toString('base64') },
});

describe('bounds', () => {
  test('a unit that floods the cloud with logs pushes out its own oldest parts, and nothing of others', () =>
    database.write(async (stores) => {
      await stores.logs.add('modest', part(1, 1000), NOW);
      for (let number = 1; number <= 20; number += 1) await stores.logs.add('flooding', part(number, 10_000), NOW);
      const kept = (await stores.logs.parts('flooding', 'asked')).map((row) => row.part);
      expect(kept).toEqual([12, 13, 14, 15, 16, 17, 18, 19, 20]);
      expect(await stores.logs.parts('modest', 'asked')).toHaveLength(1);
    }));

  test('parts without content are bounded, too', () =>
    database.write(async (stores) => {
      for (let number = 1; number <= 1000; number += 1)
        await stores.logs.add('flooding', part(number, 0, 'empty'), NOW);
      expect((await stores.logs.parts('flooding', 'empty')).length).toBeLessThan(400);
    }));

  test('logs and what was asked for go when they are old', () =>
    database.write(async (stores) => {
      await stores.logs.addRequest('modest', 'asked', {}, NOW);
      await stores.logs.add('flooding', part(1, 10, 'new'), later(25));
      expect(await stores.logs.parts('modest', 'asked')).toEqual([]);
      expect(await stores.logs.requests('modest')).toEqual([]);
      expect(await stores.logs.parts('flooding', 'new')).toHaveLength(1);
    }));

  test('large messages of a unit are fewer to look at', () =>
    database.write(async (stores) => {
      const data = { text: 'x'.repeat(200_000) };
      const message = { at: NOW, direction: 'received', messageType: 'newState', outcome: 'received', data } as const;
      for (let index = 0; index < 400; index += 1)
        await stores.messages.add('flooding', { ...message, txn: `${index}` });
      const kept = await stores.messages.last('flooding', 1000);
      // The bound, and those that come until it is looked at again.
      expect(kept.length).toBeLessThan(160 + 110);
      expect(kept.at(-1)!.txn).toBe('399');
    }));

  test('samples are bounded by age and by number', () =>
    database.write(async (stores) => {
      const at = (hours: number) => ({
        ...{ timestamp: `${later(hours).toISOString().slice(0, 23)}000Z`, cpu: 1, ram: 1, download: 0, upload: 0 },
      });
      const add = (hours: number[]) =>
        stores.samples.add(
          'modest',
          {
            ...{ messageType: 'monitoringData', instances: [] },
            nodes: [{ node: { codename: 'main' }, items: hours.map(at) }],
          },
          later(Math.max(...hours)),
        );
      await add([0]);
      await add(Array.from({ length: 20 }, (_, index) => 2 + index / 100));
      await stores.samples.trim('modest', later(2.5));
      const kept = await stores.samples.between('modest', 'node:main', 0, Number.MAX_SAFE_INTEGER);
      expect(kept).toHaveLength(10);
      expect(kept[0]!.at).toBeGreaterThan(later(2).getTime());
    }));
});
