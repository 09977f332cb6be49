import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { AosError, silentLogger } from '../../core/index.ts';
import type { UnitEvent } from '../model/unit-events.ts';
import { PostgresDatabase } from '../store/postgresql/postgres-database.ts';
import { PostgresForTests } from '../store/postgresql/postgres-for-tests.ts';
import type { Member, Order } from './cluster.ts';
import { PostgresCluster } from './postgres-cluster.ts';

/** Nothing waits for so long unless it is broken. */
const eventually = <T>(ask: () => T) => expect.poll(ask, { timeout: 20_000 });
const PROBE_MS = 200;

let server: PostgresForTests;
let url: string;
const processes: Process[] = [];

beforeAll(async () => {
  server = await PostgresForTests.start();
  url = await server.createDatabase();
});

beforeEach(async () => {
  const first = await Process.start();
  await first.database.write((sql) => sql.run('DELETE FROM units'));
  for (const unit of ['u', 'v']) {
    await first.database.write((sql) =>
      sql.run(
        `INSERT INTO units (systemId, status, modelName, modelVersion, nodes, secureData, registration, answer, provisionedAt)
         VALUES (?, 'provisioned', '', '', '[]', '{}', '', '{}', '')`,
        unit,
      ),
    );
  }
});

afterEach(async () => {
  for (const process of processes.splice(0)) await process.stop();
});

afterAll(() => server?.close());

/** A process with its links, which does what it is told and remembers it. */
class Process implements Member {
  cluster!: PostgresCluster;
  readonly database: PostgresDatabase;
  /** Units that answer on their links here. */
  readonly alive = new Set<string>();
  readonly done: (Order & { systemId: string })[] = [];
  readonly heard: UnitEvent[] = [];
  accessChanges = 0;
  readonly lost: string[] = [];
  readonly orphans: string[] = [];
  caughtUp = 0;

  private constructor(database: PostgresDatabase) {
    this.database = database;
  }

  static async start(leaseMs?: number): Promise<Process> {
    const database = await PostgresDatabase.open({ url, logger: silentLogger });
    const process = new Process(database);
    processes.push(process);
    process.cluster = await PostgresCluster.open({
      ...{ database, logger: silentLogger },
      ...(leaseMs !== undefined && { leaseMs }),
    });
    await process.cluster.start(process);
    return process;
  }

  async isAlive(systemId: string) {
    return this.alive.has(systemId);
  }

  async obey(systemId: string, order: Order) {
    if (!this.alive.has(systemId)) throw new AosError('wrongState', `unit ${systemId} is offline`);
    this.done.push({ systemId, ...order });
  }

  hear(event: UnitEvent) {
    this.heard.push(event);
  }

  accessChanged() {
    this.accessChanges += 1;
  }

  lose(systemIds: readonly string[] | 'all') {
    this.lost.push(...(systemIds === 'all' ? ['all'] : systemIds));
  }

  orphan(systemIds: readonly string[]) {
    this.orphans.push(...systemIds);
  }

  catchUp() {
    this.caughtUp += 1;
  }

  async take(systemId: string) {
    const hold = await this.cluster.claim(systemId, PROBE_MS);
    if (hold) this.alive.add(systemId);
    return hold;
  }

  async stop(): Promise<void> {
    await this.cluster?.stop();
    await this.database.stop();
  }
}

/** A process that is dead, and has held the link of a unit. */
async function addDead(unit: string): Promise<void> {
  const id = randomUUID();
  const database = new URL(url).pathname.slice(1);
  await server.ask(database, `INSERT INTO processes (id, "aliveTill") VALUES ('${id}', now() - interval '1 minute')`);
  await server.ask(database, `INSERT INTO links ("systemId", process, hold) VALUES ('${unit}', '${id}', 'h')`);
}

const first = () => processes[0]!;

test('a link that one process holds is known to the others, also to those that come later, until it ends', async () => {
  const second = await Process.start();
  const hold = await first().take('u');
  await eventually(() => second.cluster.isElsewhere('u')).toBe(true);
  expect(first().cluster.isElsewhere('u')).toBe(false);
  const third = await Process.start();
  expect(third.cluster.isElsewhere('u')).toBe(true);
  hold!.release();
  await eventually(() => [second, third].some(({ cluster }) => cluster.isElsewhere('u'))).toBe(false);
});

test('a unit that answers at one process is refused at another', async () => {
  const second = await Process.start();
  await first().take('u');
  expect(await second.take('u')).toBeUndefined();
  expect(first().lost).toEqual([]);
});

test('a unit that answers no more at one process is taken by another, and the first one cuts its link', async () => {
  const second = await Process.start();
  const old = await first().take('u');
  first().alive.delete('u');
  const hold = await second.take('u');
  expect(hold).toBeDefined();
  await eventually(() => first().lost).toEqual(['u']);
  // The end of the former link is not that of the new one.
  old!.release();
  const third = await Process.start();
  expect(third.cluster.isElsewhere('u')).toBe(true);
});

test('of processes that are asked for one unit at the same time one takes it', async () => {
  const others = [await Process.start(), await Process.start()];
  const holds = await Promise.all([first(), ...others].map((process) => process.take('u')));
  expect(holds.filter((hold) => hold !== undefined)).toHaveLength(1);
});

test('an order reaches the process that holds the link, and its refusal the one that gave it', async () => {
  const second = await Process.start();
  await first().take('u');
  await eventually(() => second.cluster.isElsewhere('u')).toBe(true);
  await second.cluster.order('u', { do: 'tellDesired' });
  const message = { messageType: 'overrideEnvVars', items: ['x'.repeat(20_000)] } as unknown as Extract<
    Order,
    { do: 'send' }
  >['message'];
  await second.cluster.order('u', { do: 'send', txn: 't', message });
  expect(first().done).toEqual([
    { systemId: 'u', do: 'tellDesired' },
    { systemId: 'u', do: 'send', txn: 't', message },
  ]);
  first().alive.delete('u');
  await expect(second.cluster.order('u', { do: 'tellEnvVars' })).rejects.toThrow('unit u is offline');
  await expect(second.cluster.order('v', { do: 'tellEnvVars' })).rejects.toMatchObject({ code: 'wrongState' });
});

test('what is told to all is done by the one that holds the link', async () => {
  const second = await Process.start();
  await second.take('u');
  first().cluster.tell('u', { do: 'tellEnvVars' });
  first().cluster.tell('v', { do: 'tellEnvVars' });
  first().cluster.tell('u', { do: 'close', reason: 'r' });
  await eventually(() => second.done).toHaveLength(2);
  expect(second.done).toEqual([
    { systemId: 'u', do: 'tellEnvVars' },
    { systemId: 'u', do: 'close', reason: 'r' },
  ]);
});

test('that somebody may see less is heard at the others', async () => {
  const second = await Process.start();
  first().cluster.accessChanged();
  await eventually(() => second.accessChanges).toBe(1);
  expect(first().accessChanges).toBe(0);
});

test('what happens at one process is heard at the others, in order, however large', async () => {
  const second = await Process.start();
  const event = (data: string): UnitEvent => ({ systemId: 'u', at: 'now', event: 'alerts', data: { data } });
  const events = ['a', 'b'.repeat(9000), 'c'].map(event);
  for (const one of events) {
    first().cluster.publish(one);
    await eventually(() => second.heard).toContainEqual(one);
  }
  expect(second.heard).toEqual(events);
  expect(first().heard).toEqual([]);
});

test('a process that is dead is buried by another, which tells whose links it held; all tell their units anew', async () => {
  const second = await Process.start(1000);
  await addDead('v');
  await eventually(() => [...first().orphans, ...second.orphans]).toEqual(['v']);
  await eventually(() => first().caughtUp).toBeGreaterThan(1);
  expect(first().cluster.isElsewhere('v')).toBe(false);
});

test('a process that was taken for dead cuts its links and begins anew', async () => {
  const second = await Process.start(1500);
  await second.take('u');
  await first().database.write((sql) => sql.run('DELETE FROM processes WHERE id = ?', second.cluster.id));
  await eventually(() => second.lost).toEqual(['all']);
  expect(await second.take('v')).toBeDefined();
  await eventually(() => first().cluster.isElsewhere('v')).toBe(true);
});

test('a process that lost its connection for notes makes it anew, and catches up', async () => {
  const second = await Process.start();
  const before = second.caughtUp;
  await server.ask('postgres', `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'`);
  await first().take('u');
  await eventually(() => second.caughtUp).toBeGreaterThan(before);
  await eventually(() => second.cluster.isElsewhere('u')).toBe(true);
  await second.cluster.order('u', { do: 'tellDesired' });
  expect(first().done).toHaveLength(1);
});

test('a process knows whether it is the only one, and what it does alone no other does meanwhile', async () => {
  const second = await Process.start();
  expect([first(), second].map(({ cluster }) => cluster.wasAlone)).toEqual([true, false]);
  let inside = 0;
  const alone = async () => {
    inside += 1;
    const most = inside;
    await first().database.read((sql) => sql.all('SELECT 1'));
    inside -= 1;
    return most;
  };
  expect(await Promise.all([first(), second, first()].map(({ cluster }) => cluster.exclusively(alone)))).toEqual([
    1, 1, 1,
  ]);
});

test('a process that stops takes its leave: its links are free at once', async () => {
  const second = await Process.start();
  await first().take('u');
  await eventually(() => second.cluster.isElsewhere('u')).toBe(true);
  const before = second.caughtUp;
  await processes.shift()!.stop();
  await eventually(() => second.cluster.isElsewhere('u')).toBe(false);
  // It has told all that it had to tell.
  expect(second.caughtUp).toBe(before);
  expect(await second.take('u')).toBeDefined();
});
