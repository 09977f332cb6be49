import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { type Logger, silentLogger } from '../../core/index.ts';
import {
  type ExitRecord,
  MAX_EXITS,
  MemorySupervisionStore,
  SqliteSupervisionStore,
  SUPERVISION_TABLES,
  type SupervisionStore,
} from './supervision-store.ts';

function inDatabase(): SupervisionStore {
  const database = new DatabaseSync(':memory:');
  database.exec(SUPERVISION_TABLES);
  return new SqliteSupervisionStore(database, silentLogger);
}

const exit = (status: number): ExitRecord => ({
  at: new Date(1_700_000_000_000 + status),
  uptimeMs: 10,
  status,
  cause: `exit code ${status}`,
  outcome: 'restart',
});

describe.each([
  ['in a database', inDatabase],
  ['in memory', () => new MemorySupervisionStore()],
])('exits %s', (_, make) => {
  test('[P-18] come back newest first, those of each instance apart', () => {
    const store = make();
    store.record('a', exit(1));
    store.record('b', exit(9));
    store.record('a', exit(2));
    expect(store.history('a')).toEqual([exit(2), exit(1)]);
    expect(store.history('b')).toEqual([exit(9)]);
  });

  test('of an instance are the last sixteen', () => {
    const store = make();
    store.record('other', exit(1));
    for (let status = 0; status < MAX_EXITS + 5; status += 1) store.record('a', exit(status));
    expect(store.history('a').map(({ status }) => status)).toEqual([...Array(MAX_EXITS).keys()].map((n) => 20 - n));
    expect(store.history('other')).toHaveLength(1);
  });

  test('go with the instance', () => {
    const store = make();
    store.record('a', exit(1));
    store.record('b', exit(2));
    store.forget('a');
    expect([store.history('a'), store.history('b')]).toEqual([[], [exit(2)]]);
  });
});

test('[R-02] on a full disk an exit that cannot be noted is told, and nothing else is lost', () => {
  const database = new DatabaseSync(':memory:');
  database.exec(SUPERVISION_TABLES);
  const warnings: string[] = [];
  const logger = { ...silentLogger, warn: (_: object, words: string) => warnings.push(words) } as unknown as Logger;
  const store = new SqliteSupervisionStore(database, logger);
  store.record('a', exit(1));
  const { page_count: pages } = database.prepare('PRAGMA page_count').get() as { page_count: number };
  database.exec(`PRAGMA max_page_count = ${pages}`);
  const large = { ...exit(2), cause: 'x'.repeat(100_000) };
  for (let times = 0; times < 3; times += 1) store.record('a', large);
  expect(warnings).toEqual(['exits of instances are not noted: not enough space']);
  database.exec(`PRAGMA max_page_count = ${pages + 1000}`);
  store.record('a', large);
  expect(store.history('a')).toEqual([large, exit(1)]);
});
