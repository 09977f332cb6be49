import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import type { TrafficRow } from './traffic-count.ts';
import { TRAFFIC_TABLES, TrafficRows } from './traffic-rows.ts';

const MIB = 1024 * 1024;
const NOON = Date.parse('2026-05-04T12:00:00Z');

function opened() {
  const database = new DatabaseSync(':memory:');
  database.exec(TRAFFIC_TABLES);
  const rows = new TrafficRows(database);
  const written = (chain = 'in_a') => new TrafficRows(database).get(chain);
  const changes = () => (database.prepare('SELECT total_changes() AS n').get() as { n: number }).n;
  return { rows, written, changes };
}

const row = (bytes: number, more: Partial<TrafficRow> = {}): TrafficRow => ({
  ...{ chain: 'in_a', bytes, counter: bytes, countedAt: NOON, isBlocked: false },
  ...more,
});
const roughly = () => false;
const exactly = () => true;

test('[SM-38] [B-04] what need not be exact is written when there is enough of it, and known at once', () => {
  const { rows, written, changes } = opened();
  rows.put([row(100)], roughly);
  const before = changes();
  rows.put([row(200, { countedAt: NOON + 60_000 })], roughly);
  rows.put([row(MIB, { countedAt: NOON + 120_000 })], roughly);
  expect([changes(), rows.get('in_a')?.bytes, written()?.bytes]).toEqual([before, MIB, 100]);
  rows.put([row(MIB + 100)], roughly);
  expect(written()?.bytes).toBe(MIB + 100);
});

test('[SM-38] of an instance each byte is written, the time alone never', () => {
  const { rows, written, changes } = opened();
  rows.put([row(100)], exactly);
  rows.put([row(101)], exactly);
  expect(written()?.bytes).toBe(101);
  const before = changes();
  rows.put([row(101, { countedAt: NOON + 60_000 })], exactly);
  expect(changes()).toBe(before);
  rows.put([row(101, { isBlocked: true })], roughly);
  expect(written()?.isBlocked).toBe(true);
});

test('[SM-38] a new counter and a new period are written: what lies on the disk would be misread', () => {
  const { rows, written } = opened();
  rows.put([row(500)], roughly);
  rows.put([row(500, { counter: 0 })], roughly);
  expect(written()).toMatchObject({ bytes: 500, counter: 0 });
  const tomorrow = NOON + 86_400_000;
  rows.put([row(0, { counter: 7, countedAt: tomorrow })], roughly);
  expect(written()).toMatchObject({ bytes: 0, counter: 7, countedAt: tomorrow });
});

test('[SM-38] a service manager that restarts goes on from what is written, and loses nothing that the kernel has counted', () => {
  const { rows, written } = opened();
  rows.put([row(100)], roughly);
  rows.put([row(900)], roughly);
  const found = written()!;
  // The counter of the kernel says 900 still.
  expect(found.bytes + (900 - found.counter)).toBe(900);
});
