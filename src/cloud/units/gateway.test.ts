/** What happens between the look at a unit's papers and its link. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { silentLogger } from '../../core/index.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import { upgradeListener, WEB_SOCKET_PATH } from './gateway.ts';

let server: Server | undefined;

afterEach(() => {
  server?.close();
  server?.closeAllConnections();
});

/** A gateway whose looks at the database answer this, one after the other. */
async function gateway(...looks: readonly object[]): Promise<{ readonly url: string; readonly accepted: string[] }> {
  const accepted: string[] = [];
  const left = [...looks];
  const database = { read: async () => left.shift() } as unknown as CloudDatabase;
  server = createServer();
  const accept = (systemId: string) => void accepted.push(systemId);
  server.on('upgrade', upgradeListener({ database, accept, now: () => new Date(), logger: silentLogger }));
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}${WEB_SOCKET_PATH}`, accepted };
}

const REFUSED = { status: '403 Forbidden', because: 'the certificate is unknown or revoked' };

test('a unit that is reset between the look at its papers and its link does not keep the link', async () => {
  const { url, accepted } = await gateway({ systemId: 'u' }, REFUSED);
  const link = new WebSocket(url);
  const [code, reason] = await new Promise<[number, Buffer]>((resolve) => link.on('close', (...end) => resolve(end)));
  expect(accepted).toEqual(['u']);
  expect([code, reason.toString()]).toEqual([1008, REFUSED.because]);
});

test('a unit whose papers are good both times stays', async () => {
  const { url, accepted } = await gateway({ systemId: 'u' }, { systemId: 'u' });
  const link = new WebSocket(url);
  await new Promise((resolve) => link.on('open', resolve));
  await new Promise((resolve) => {
    link.on('pong', resolve);
    link.ping();
  });
  expect(accepted).toEqual(['u']);
  expect(link.readyState).toBe(WebSocket.OPEN);
  link.terminate();
});
