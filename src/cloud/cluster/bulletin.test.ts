/** Notes of processes while their connection is made, breaks, or is not answered. */
import { EventEmitter } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import type { PostgresDatabase } from '../store/postgresql/postgres-database.ts';
import { Bulletin } from './bulletin.ts';
import { type Envelope, toText } from './notes.ts';

/** Nothing waits for so long unless it is broken. */
const eventually = <T>(ask: () => T) => expect.poll(ask, { timeout: 20_000 });

/** A connection that answers everything, but for what it is told to keep silent about. */
class FakeConnection extends EventEmitter {
  readonly posted: string[] = [];
  fault: Error | undefined;

  async query(sql: string, values: readonly string[] = []): Promise<void> {
    if (!sql.includes('pg_notify')) return;
    if (this.fault) throw this.fault;
    this.posted.push(values[1]!);
  }

  async end(): Promise<void> {
    this.emit('end');
  }
}

const connections: FakeConnection[] = [];
const heard: Envelope[] = [];
let bulletin: Bulletin;

afterEach(async () => {
  await bulletin.stop();
  connections.length = 0;
  heard.length = 0;
});

function bulletinOf(onConnected: () => Promise<void>): Bulletin {
  const connect = async () => {
    const connection = new FakeConnection();
    connections.push(connection);
    return connection;
  };
  bulletin = new Bulletin({
    ...{ database: { connect } as unknown as PostgresDatabase, process: 'me', logger: silentLogger, onConnected },
    onNote: (envelope) => heard.push(envelope),
  });
  return bulletin;
}

const UP = { from: 'other', note: { kind: 'up', systemId: 'u' } } as const;

test('what is heard while the past is caught up with is newer, and so comes after it', async () => {
  const caughtUp = Promise.withResolvers<void>();
  const started = bulletinOf(() => caughtUp.promise).start();
  await eventually(() => connections).toHaveLength(1);
  connections[0]!.emit('notification', { payload: toText(UP) });
  await new Promise((resolve) => setTimeout(resolve, 0));
  expect(heard).toEqual([]);
  caughtUp.resolve();
  await started;
  await eventually(() => heard).toEqual([UP]);
});

test('a note that the server does not answer for is told again on a new connection', async () => {
  await bulletinOf(async () => undefined).start();
  connections[0]!.fault = new Error('Query read timeout');
  bulletin.tell({ kind: 'left' });
  await eventually(() => connections.map(({ posted }) => posted)).toEqual([
    [],
    [toText({ from: 'me', note: { kind: 'left' } })],
  ]);
  connections[1]!.fault = new Error('Query read timeout');
  bulletin.tell({ kind: 'down', systemId: 'poison' });
  await eventually(() => connections).toHaveLength(3);
  bulletin.tell({ kind: 'down', systemId: 'next' });
  await eventually(() => connections[2]!.posted.map((text) => JSON.parse(text).note.systemId)).toEqual([
    'poison',
    'next',
  ]);
});

test('a note that the server refuses is left out, and the next one is told', async () => {
  await bulletinOf(async () => undefined).start();
  connections[0]!.fault = Object.assign(new Error('payload string too long'), { code: '22023' });
  bulletin.tell({ kind: 'down', systemId: 'refused' });
  await new Promise((resolve) => setTimeout(resolve, 0));
  connections[0]!.fault = undefined;
  bulletin.tell({ kind: 'down', systemId: 'next' });
  await eventually(() => connections[0]!.posted.map((text) => JSON.parse(text).note.systemId)).toEqual(['next']);
  expect(connections).toHaveLength(1);
});
