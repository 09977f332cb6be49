import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger, systemClock } from '../../core/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { EVENT_TABLES, EventLog } from './event-log.ts';

let directory: string;
let database: DatabaseSync;
const openLog = (kept = 10) => new EventLog({ database, clock: systemClock, logger: silentLogger, kept });

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-events-'));
  database = await openDatabase(join(directory, 'cm.db'), [EVENT_TABLES], silentLogger);
});

afterEach(async () => {
  database.close();
  await rm(directory, { recursive: true, force: true });
});

const about = (id: string) => ({ about: { kind: 'item' as const, id }, what: 'became installed', because: 'wanted' });

test('[P-03] decisions are found again with their reasons, also after a restart', () => {
  const log = openLog();
  log.record(about('web 1'));
  log.record({ about: { kind: 'node', id: 'main' }, what: 'was paused', because: 'ordered' });
  log.stop();
  expect(openLog().list({ kind: 'node' })).toMatchObject([
    { about: { id: 'main' }, what: 'was paused', because: 'ordered' },
  ]);
});

test('[P-03] an item is found with all its versions, and no other item whose name begins alike', () => {
  const log = openLog();
  for (const id of ['web 1', 'web 2', 'website 1']) log.record(about(id));
  expect(log.list({ id: 'web' }).map((event) => event.about.id)).toEqual(['web 1', 'web 2']);
});

test('[P-02] those who follow hear of what was and of what comes, once each, and leave nothing behind', async () => {
  const log = openLog();
  log.record(about('web 1'));
  const stop = new AbortController();
  const events = log.follow({ kind: 'item' }, stop.signal);
  expect((await events.next()).value?.about.id).toBe('web 1');
  const next = events.next();
  log.record({ about: { kind: 'node', id: 'main' }, what: 'was paused', because: 'ordered' });
  log.record(about('web 2'));
  log.record(about('web 3'));
  expect((await next).value?.about.id).toBe('web 2');
  expect((await events.next()).value?.about.id).toBe('web 3');
  const rest = events.next();
  stop.abort();
  expect((await rest).done).toBe(true);
  log.record(about('web 4'));
});

test('only so many are kept, the newest', () => {
  const log = openLog(3);
  for (let n = 1; n <= 9; n += 1) log.record(about(`web ${n}`));
  expect(log.list().map((event) => event.about.id)).toEqual(['web 7', 'web 8', 'web 9']);
  expect(log.list({ after: log.list().at(-2)!.seq })).toHaveLength(1);
});
