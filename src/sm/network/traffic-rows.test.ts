import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { type Logger, silentLogger } from '../../core/index.ts';
import type { TrafficRow } from './traffic-count.ts';
import { TRAFFIC_TABLES, TrafficRows } from './traffic-rows.ts';

const MIB = 1024 * 1024;
const NOON = Date.parse('2026-05-04T12:00:00Z');

function opened() {
  const database = new DatabaseSync(':memory:');
  database.exec(TRAFFIC_TABLES);
  const rows = new TrafficRows(database, silentLogger);
  const written = (chain = 'in_a') => new TrafficRows(database, silentLogger).get(chain);
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

test('[R-02] [SM-38] on a full disk counting and limits go on; what could not be written is, when there is room', () => {
  const database = new DatabaseSync(':memory:');
  database.exec(TRAFFIC_TABLES);
  const warnings: string[] = [];
  const logger = { ...silentLogger, warn: (_: object, words: string) => warnings.push(words) } as unknown as Logger;
  const rows = new TrafficRows(database, logger);
  database.exec('PRAGMA max_page_count = 1');
  const many = Array.from({ length: 1000 }, (_, number) => row(100, { chain: `in_${number}` }));
  for (let times = 0; times < 3; times += 1) rows.put(many, exactly);
  expect(rows.get('in_7')?.bytes).toBe(100);
  expect(warnings).toEqual(['counted traffic is not written: not enough space']);
  database.exec('PRAGMA max_page_count = 1000');
  rows.put([row(100, { chain: 'in_7' })], exactly);
  expect(new TrafficRows(database, silentLogger).get('in_7')?.bytes).toBe(100);
});
