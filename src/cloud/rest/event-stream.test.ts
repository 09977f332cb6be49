/** News reach those who may see them, in their order, for as long as they listen. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { AccessChanges } from '../access/access-changes.ts';
import { eventually } from '../cloud-for-tests.ts';
import { UnitEvents } from '../model/unit-events.ts';
import { type Selection, streamEvents } from './event-stream.ts';

let events: UnitEvents;
let selection: Omit<Selection, 'isStill'> & Partial<Selection>;

const isStill = async () => true;
let access: AccessChanges;
let time: Date;
const news = () => ({ events, access, logger: silentLogger, now: () => time });
let server: Server;
let address: string;
const readers: AbortController[] = [];

beforeEach(async () => {
  events = new UnitEvents(silentLogger);
  access = new AccessChanges(() => undefined);
  time = new Date('2026-01-01T00:00:00Z');
  server = createServer((_, response) => streamEvents(response, news(), { isStill, ...selection }));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});

afterEach(() => {
  for (const reader of readers.splice(0)) reader.abort();
  server.close();
  server.closeAllConnections();
});

/** What a reader has got so far, and whether its stream has ended. */
async function read() {
  const controller = new AbortController();
  readers.push(controller);
  const { body } = await fetch(address, { signal: controller.signal });
  const got = { text: '', ended: false };
  const collect = async () => {
    for await (const piece of body!.pipeThrough(new TextDecoderStream())) got.text += piece;
  };
  // A reader that is cut off, or goes away, has read what there is.
  void collect()
    .catch(() => undefined)
    .finally(() => {
      got.ended = true;
    });
  await eventually(() => got.text).toContain('these are the news');
  return got;
}

const unitsIn = (text: string) => [...text.matchAll(/"systemId":"([^"]+)"/g)].map((match) => match[1]);

test('a reader gets the news of what it sees, in their order, however long it takes to find out', async () => {
  const sees = async (systemId: string) => {
    // The first ones take longest.
    const rounds = systemId.startsWith('mine-1') ? 5 : 0;
    for (let round = 0; round < rounds; round += 1) await new Promise((resolve) => setImmediate(resolve));
    return systemId.startsWith('mine');
  };
  selection = { sees };
  const got = await read();
  for (const systemId of ['mine-1', 'other-1', 'mine-2', 'other-2', 'mine-3']) events.publish(systemId, 'connected');
  await eventually(() => unitsIn(got.text)).toEqual(['mine-1', 'mine-2', 'mine-3']);
});

test('news of one unit are of that unit', async () => {
  selection = { systemId: 'u' };
  const got = await read();
  events.publish('other', 'connected');
  events.publish('u', 'disconnected');
  await eventually(() => got.text).toContain('event: disconnected');
  expect(got.text).not.toContain('event: connected');
});

test('when it cannot be found out what a reader sees, it is cut off and gets nothing of it', async () => {
  selection = { sees: () => Promise.reject(new Error('the database is gone')) };
  const got = await read();
  events.publish('u', 'connected');
  await eventually(() => got.ended).toBe(true);
  expect(unitsIn(got.text)).toEqual([]);
});

test('whether a reader may have news is found out at the beginning and when that may have changed; not while nothing happens', async () => {
  let looks = 0;
  let answer = true;
  const look = async () => {
    looks += 1;
    return answer;
  };
  selection = { heartbeatMs: 1, isStill: look };
  const got = await read();
  const beats = () => got.text.split('still here').length - 1;
  await eventually(beats).toBeGreaterThan(20);
  expect(looks).toBe(1);
  access.publish();
  await eventually(() => looks).toBe(2);
  answer = false;
  access.publish();
  await eventually(() => got.ended).toBe(true);
  events.publish('u', 'disconnected');
  expect(got.text).not.toContain('event: disconnected');
});

test('while it cannot be found out whether a reader may have news, the stream stays, and it is tried again', async () => {
  let look = () => Promise.resolve(true);
  selection = { heartbeatMs: 5, isStill: () => look() };
  const got = await read();
  await eventually(() => got.text).toContain('still here');
  let failures = 0;
  look = () => {
    failures += 1;
    return Promise.reject(new Error('the database is away'));
  };
  access.publish();
  events.publish('u', 'connected');
  await eventually(() => got.text).toContain('event: connected');
  await eventually(() => failures).toBeGreaterThan(2);
  expect(got.ended).toBe(false);
  look = () => Promise.resolve(false);
  await eventually(() => got.ended).toBe(true);
});

test('a stream ends with the token that its reader has shown', async () => {
  selection = { heartbeatMs: 5, endsAt: new Date('2026-01-01T12:00:00Z') };
  const got = await read();
  await eventually(() => got.text).toContain('still here');
  expect(got.ended).toBe(false);
  time = new Date('2026-01-01T12:00:00Z');
  await eventually(() => got.ended).toBe(true);
});

test('for a reader that is gone already nothing begins', async () => {
  let followers = 0;
  const follow = () => {
    followers += 1;
    return () => undefined;
  };
  const watched = { follow, subscribe: follow } as unknown as UnitEvents;
  const handled = new Promise<void>((resolve) => {
    server.removeAllListeners('request');
    server.once('request', (_, response) => {
      response.destroy();
      streamEvents(response, { ...news(), events: watched }, { isStill });
      resolve();
    });
  });
  await expect(fetch(address)).rejects.toThrow();
  await handled;
  expect(followers).toBe(0);
});
