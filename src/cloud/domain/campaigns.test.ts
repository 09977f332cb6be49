import { expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { UnitEvents } from '../model/unit-events.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import { Campaigns } from './campaigns.ts';

test('news of units that come while the database fails are looked at when it is back, though nobody says them again', async () => {
  const reads = [() => [], () => Promise.reject(new Error('the disk is full')), () => []];
  let done = 0;
  const database = {
    read: async () => {
      const answer = reads[done] ?? (() => []);
      done += 1;
      return answer();
    },
  } as unknown as CloudDatabase;
  const events = new UnitEvents(silentLogger);
  const campaigns = new Campaigns({
    ...{ database, events, isOnline: () => true, desiredChanged: () => undefined, now: () => new Date() },
    ...{ logger: silentLogger, lookAgainMs: 1 },
  });
  await campaigns.start();
  events.publish('u', 'status');
  await expect.poll(() => done, { timeout: 15_000 }).toBe(3);
  await campaigns.stop();
});
