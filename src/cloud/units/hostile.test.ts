/** Units that mean harm, or are broken: others do not notice. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { eventually, TestCloud } from '../cloud-for-tests.ts';
import { UnitEvents } from '../model/unit-events.ts';
import { REGISTRATION_PATH, registrationOf, ScriptedUnit } from '../scripted-unit-for-tests.ts';
import { GroupCommit } from '../store/group-commit.ts';
import type { Sql } from '../store/sql.ts';
import { SqliteDatabase } from '../store/sqlite.ts';

const MAX_FRAME_BYTES = 8 * 1024 * 1024;

let cloud: TestCloud;
let honest: ScriptedUnit;

beforeAll(async () => {
  cloud = await TestCloud.start();
  honest = await ScriptedUnit.register(cloud);
  await honest.comeOnline();
});

afterAll(async () => {
  honest.disconnect();
  await cloud.close();
});

describe('a hostile unit', () => {
  test('that sends a frame larger than any message is cut off; others stay', async () => {
    const unit = await ScriptedUnit.register(cloud);
    await unit.comeOnline();
    const closed = unit.closed();
    unit.sendFrame(Buffer.alloc(MAX_FRAME_BYTES + 1, ' '));
    expect(await closed).toBe(1009);
    await honest.acked(honest.sendStatus({}));
    await unit.comeOnline();
    unit.disconnect();
  });

  test('that floods the cloud holds up nobody else, and loses nothing of its own', async () => {
    const unit = await ScriptedUnit.register(cloud);
    await unit.comeOnline();
    const flood = Array.from({ length: 300 }, () => unit.sendStatus({}));
    await honest.acked(honest.sendStatus({}));
    // While the flood is still being worked off.
    expect(unit.acks.length).toBeLessThan(flood.length);
    await unit.acked(flood.at(-1)!);
    expect(unit.acks).toEqual(expect.arrayContaining(flood.slice(0, -1)));
    unit.disconnect();
  });

  test('that asks and asks, and reads no answer, is cut off', async () => {
    const unit = await ScriptedUnit.register(cloud);
    await unit.comeOnline();
    const instance = { item: { id: 'large' }, subject: { id: 's' }, instance: 0 };
    await cloud.must('PUT', `${unit.path}/states/large/s/0`, { state: 'x'.repeat(64 * 1024) });
    unit.hang();
    for (let asked = 0; asked < 900; asked += 1)
      unit.send({ messageType: 'stateRequest', ...instance, default: false });
    const isOnline = async () => (await cloud.must<{ online: boolean }>('GET', unit.path)).online;
    await eventually(isOnline).toBe(false);
    await honest.acked(honest.sendStatus({}));
    unit.disconnect();
  });

  test('whose certificate was stolen opens nothing after its reset, however it is shown', async () => {
    const unit = await ScriptedUnit.register(cloud);
    await unit.comeOnline();
    const closed = unit.closed();
    await cloud.must('POST', `${unit.path}/reset`);
    await closed;
    expect((await unit.discover()).status).toBe(403);
    await expect(unit.connect()).rejects.toThrow(/403/);
  });

  test.each([
    ['of markup and text that turns around', '<img src=x onerror=alert(1)>\u202e', 201],
    ['that is a path', '../../operator', 201],
    ['that is a member of every object', '__proto__', 201],
    ['that is too long', 'x'.repeat(65), 400],
    ['that is nothing', '', 400],
  ])('with a name %s is a unit of that name, or none', async (_, systemId, status) => {
    const { request } = await registrationOf('named');
    const answer = await cloud.ask('POST', REGISTRATION_PATH, { ...request, system_uid: systemId });
    expect([answer.status, answer.body.toString().includes('online_certificate')]).toEqual([status, status === 201]);
    if (status !== 201) return;
    const path = `/api/units/${encodeURIComponent(systemId)}`;
    expect(await cloud.must('GET', path)).toMatchObject({ systemId, online: false });
    expect((await cloud.must<{ systemId: string }[]>('GET', '/api/units')).map((unit) => unit.systemId)).toContain(
      systemId,
    );
    await cloud.must('DELETE', path);
  });
});

// Tables of SQLite are hidden in its file.
describe.skipIf(process.env.AOS_TEST_POSTGRES)('[P-06] while its database is gone', () => {
  /** As a disk that fails, then is back: no query of the cloud finds the table. */
  async function without(table: string, story: () => Promise<void>): Promise<void> {
    const database = new DatabaseSync(join(cloud.directory, 'work', 'cloud.db'));
    database.exec(`PRAGMA busy_timeout = 5000; PRAGMA legacy_alter_table = ON; ALTER TABLE ${table} RENAME TO gone`);
    try {
      await story();
    } finally {
      database.exec(`ALTER TABLE gone RENAME TO ${table}`);
      database.close();
    }
  }

  test('a cloud lets nobody in, says so, and goes on when it is back', async () => {
    const unit = await ScriptedUnit.register(cloud);
    await unit.discover();
    await without('certificates', async () => {
      expect(await cloud.ask('GET', '/api/units')).toMatchObject({
        status: 500,
        headers: { 'content-type': 'application/problem+json' },
      });
      const page = await cloud.ask('GET', '/');
      expect([page.status, page.body.toString()]).toEqual([500, expect.stringContaining('It did not work')]);
      expect((await unit.discover()).status).toBe(500);
      await expect(unit.connect()).rejects.toThrow(/503/);
    });
    await unit.comeOnline();
    unit.disconnect();
  });

  test('what a unit says is not acknowledged, and is kept when it says it again', async () => {
    const alert = { tag: 'systemAlert', timestamp: new Date().toISOString(), message: 'the fan is slow' } as const;
    const alerts = { messageType: 'alerts', items: [{ ...alert, node: { codename: 'main' } }] } as const;
    const txn = crypto.randomUUID();
    await without('alerts', async () => {
      honest.send(alerts, txn);
      await honest.acked(honest.sendStatus({}));
      expect(honest.acks).not.toContain(txn);
    });
    honest.send(alerts, txn);
    await honest.acked(txn);
    expect(await cloud.must('GET', `${honest.path}/alerts`)).toHaveLength(1);
  });

  test('a unit that cannot be told what is wanted is asked to come again, and is told then', async () => {
    const unit = await ScriptedUnit.register(cloud);
    await without('deployments', async () => {
      await unit.discover();
      await unit.connect();
      const closed = unit.closed();
      unit.sendStatus({ isDeltaInfo: false, nodes: [], items: [], instances: [], subjects: [] });
      expect(await closed).toBe(1011);
    });
    await unit.comeOnline();
    unit.disconnect();
  });
});

test('a follower of news that fails hinders nobody', () => {
  const events = new UnitEvents(silentLogger);
  const heard: string[] = [];
  events.subscribe(() => {
    throw new Error('its database is gone');
  });
  events.subscribe(({ event }) => heard.push(event));
  events.publish('unit', 'connected');
  expect(heard).toEqual(['connected']);
});

test('while the disk is full nothing is acknowledged that is not kept; with room again all goes on', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'aos-cloud-full-'));
  const database = new DatabaseSync(join(directory, 'full.db'));
  try {
    database.exec('PRAGMA journal_mode = WAL; CREATE TABLE kept (data TEXT) STRICT; PRAGMA max_page_count = 8');
    const group = new GroupCommit(new SqliteDatabase(database), silentLogger);
    const keep = (bytes: number) => (sql: Sql) => sql.run('INSERT INTO kept VALUES (?)', 'x'.repeat(bytes));
    const both = [group.run(keep(10)), group.run(keep(100_000))];
    const outcomes = (await Promise.allSettled(both)).map(({ status }) => status);
    const kept = database.prepare('SELECT COUNT(*) AS count FROM kept').get()!.count;
    expect(kept).toBe(outcomes.filter((status) => status === 'fulfilled').length);
    expect(outcomes[1]).toBe('rejected');
    database.exec('PRAGMA max_page_count = 10000');
    await group.run(keep(100_000));
  } finally {
    database.close();
    await rm(directory, { recursive: true, force: true });
  }
});
