import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { silentLogger } from '../../core/index.ts';
import { UnitEvents } from '../model/unit-events.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import { FakeSocket } from './fake-socket-for-tests.ts';
import { UnitSession } from './unit-session.ts';

function sessionWith(database: Pick<CloudDatabase, 'writeTogether'>): FakeSocket {
  const socket = new FakeSocket();
  new UnitSession({
    ...{ systemId: 'u', socket: socket as unknown as WebSocket, database: database as CloudDatabase },
    ...{ times: { ackTimeoutMs: 60_000, transmissions: 1, pingIntervalMs: 60_000 } },
    ...{ events: new UnitEvents(silentLogger), logger: silentLogger, now: () => new Date() },
  });
  return socket;
}

/** Until all that can go on without something from outside has done so. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 0));

const nonsense = (): Buffer =>
  Buffer.from(JSON.stringify({ header: { version: 7, systemId: 'u', txn: randomUUID() }, data: {} }));

test('nonsense is acknowledged when it is kept, and more of it waits in the socket of the unit until then', async () => {
  const kept = Promise.withResolvers<never>();
  const socket = sessionWith({ writeTogether: () => kept.promise });
  socket.emit('message', nonsense());
  await settled();
  expect(socket).toMatchObject({ isPaused: true, sent: [] });
  kept.resolve(undefined as never);
  await settled();
  expect(socket.isPaused).toBe(false);
  expect(socket.sent).toHaveLength(1);
  socket.terminate();
});

test('nonsense that cannot be kept is not acknowledged, and the link goes on', async () => {
  const socket = sessionWith({ writeTogether: () => Promise.reject(new Error('the disk is full')) });
  socket.emit('message', nonsense());
  await settled();
  expect(socket).toMatchObject({ isPaused: false, sent: [], readyState: socket.OPEN });
  socket.terminate();
});

test('a unit that pings and pings, and reads no answer, is cut off', async () => {
  const socket = sessionWith({ writeTogether: () => Promise.reject(new Error('unused')) });
  socket.emit('ping');
  expect(socket.readyState).toBe(socket.OPEN);
  socket.bufferedAmount = 33 * 1024 * 1024;
  socket.emit('ping');
  expect(socket.readyState).not.toBe(socket.OPEN);
});
