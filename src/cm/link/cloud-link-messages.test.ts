/** Messages of both directions, their receipts, requests and answers. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { AosError, silentLogger } from '../../core/index.ts';
import type { Alerts, CloudMessage } from '../../protocol/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { SYSTEM_ID } from './cloud-for-tests.ts';
import { MemoryOutboxStore, makeLink, recordingLogger } from './link-for-tests.ts';
import { alerts, cloud, connected, fullStatus, links, newState, open, text } from './link-stage-for-tests.ts';
import { LINK_TABLES, SqliteOutboxStore } from './outbox-store.ts';

describe('what the unit sends', () => {
  test('[CM-08] a message without ack is sent four times as it was, then given up', async () => {
    cloud.acknowledges = false;
    const { logger, lines } = recordingLogger();
    const link = open({ cloudResponseWaitTimeoutMs: 10, logger });
    const session = await cloud.nextSession();
    await connected(link);
    const opening = (await session.next())!;
    session.ack(opening.header.txn);
    link.send(alerts('again'));
    const sent = [];
    while (sent.length < 4) {
      const next = (await session.next())!;
      if (next.data.messageType === 'alerts') sent.push(next);
    }
    expect(new Set(sent.map(({ header }) => header.txn)).size).toBe(1);
    expect(new Set(sent.map(({ header }) => header.createdAt)).size).toBe(1);
    await vi.waitFor(() => expect(lines).toContain('a message is given up'));
    link.send(alerts('next'));
    let next = await session.next();
    while (text(next?.data) !== 'next') {
      expect(next?.header.txn).not.toBe(sent[0]!.header.txn);
      next = await session.next();
    }
  });

  test('[CM-08] an acknowledged message is not sent again', async () => {
    cloud.acknowledges = false;
    const link = open({ cloudResponseWaitTimeoutMs: 100 });
    const session = await cloud.nextSession();
    session.ack((await session.next())!.header.txn);
    await connected(link);
    const known = new Promise<void>((resolve) => link.send(alerts('once'), { onAcknowledged: resolve }));
    session.ack((await session.next())!.header.txn);
    await known;
    // Something else is sent as often as it can be, and what is acknowledged never in between.
    link.send(alerts('marker'));
    while (text((await session.next())?.data) !== 'marker');
    for (let copies = 1; copies < 4; copies += 1) expect(text((await session.next())?.data)).toBe('marker');
  });

  test('[CM-08] a nack postpones a message and does not count; one for an unknown txn is ignored', async () => {
    cloud.acknowledges = false;
    const link = open();
    const session = await cloud.nextSession();
    const opening = (await session.next())!;
    session.send({ messageType: 'nack', retryAfter: 1 }, 'unknown');
    for (let copies = 0; copies < 6; copies += 1) {
      session.send({ messageType: 'nack', retryAfter: 1 }, opening.header.txn);
      expect((await session.next())?.header.txn).toBe(opening.header.txn);
    }
    session.ack(opening.header.txn);
    await connected(link);
  });

  test('[CM-15] messages are sent in the order in which they were handed over', async () => {
    const link = open();
    const session = await cloud.nextSession();
    await connected(link);
    const texts = Array.from({ length: 50 }, (_, index) => `alert ${index}`);
    for (const message of texts) link.send(alerts(message));
    await session.next();
    const received: (string | undefined)[] = [];
    for (const _ of texts) received.push(text((await session.next())?.data));
    expect(received).toEqual(texts);
  });

  test('what was not acknowledged when a session was lost follows the full status of the next one', async () => {
    cloud.acknowledges = false;
    const link = open();
    const first = await cloud.nextSession();
    await connected(link);
    await first.next();
    link.send(alerts('one'));
    link.send(alerts('two'));
    const sent = [(await first.next())!, (await first.next())!];
    first.ack(sent[0]!.header.txn);
    first.socket.close();
    const second = await cloud.nextSession();
    expect((await second.next())?.data).toEqual(fullStatus);
    expect((await second.next())?.header).toEqual(sent[1]!.header);
    expect(second.messages.size).toBe(0);
  });

  test('a unit status is not queued while there is no session', async () => {
    const link = makeLink(cloud.discoveryUrl);
    links.push(link);
    link.setOpening(async () => fullStatus);
    link.send({ ...fullStatus, isDeltaInfo: true });
    link.send(alerts('after'));
    link.start();
    const session = await cloud.nextSession();
    expect((await session.next())?.data).toEqual(fullStatus);
    expect(text((await session.next())?.data)).toBe('after');
  });

  test('[CM-08] who wants to know hears that the cloud has a message, and not before', async () => {
    cloud.acknowledges = false;
    const heard: string[] = [];
    const link = makeLink(cloud.discoveryUrl);
    links.push(link);
    link.setOpening(
      async () => fullStatus,
      ({ messageType }) => heard.push(messageType),
    );
    link.start();
    const first = await cloud.nextSession();
    await first.next();
    await connected(link);
    link.send({ ...fullStatus, isDeltaInfo: true }, { onAcknowledged: () => heard.push('lost with its session') });
    link.send(alerts('one'), { onAcknowledged: () => heard.push('one') });
    await first.next();
    first.socket.terminate();
    const second = await cloud.nextSession();
    const [opening, one] = [await second.next(), await second.next()];
    expect(heard).toEqual([]);
    second.ack(one!.header.txn);
    second.ack(opening!.header.txn);
    await vi.waitFor(() => expect(heard).toEqual(['one', 'unitStatus']));
  });

  test('a durable message survives a restart until it is acknowledged, the newest of its key only', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'link-'));
    const database = await openDatabase(join(directory, 'cm.db'), [LINK_TABLES], silentLogger);
    try {
      const before = makeLink(cloud.discoveryUrl, { store: new SqliteOutboxStore(database) });
      before.send(newState('old'), { durable: true, replaces: 'state i/s/0' });
      before.send(newState('new'), { durable: true, replaces: 'state i/s/0' });
      before.send(alerts('not durable'));
      const link = open({ store: new SqliteOutboxStore(database) });
      const session = await cloud.nextSession();
      await session.next();
      expect((await session.next())?.data).toMatchObject({ messageType: 'newState', state: 'new' });
      await vi.waitFor(() => expect(new SqliteOutboxStore(database).load()).toEqual([]));
      expect(session.messages.size).toBe(0);
      await link.stop();
    } finally {
      database.close();
      await rm(directory, { recursive: true });
    }
  });

  test('[R-02] what a full disk does not keep is sent all the same', async () => {
    const store = new MemoryOutboxStore();
    store.put = () => {
      throw new AosError('noMemory', 'not enough space');
    };
    const link = open({ store });
    const session = await cloud.nextSession();
    await connected(link);
    link.send(newState('new'), { durable: true, replaces: 'state i/s/0' });
    await session.next();
    expect((await session.next())?.data).toMatchObject({ messageType: 'newState', state: 'new' });
  });

  test('[R-02] an ack is taken also while the disk is full', async () => {
    cloud.acknowledges = false;
    const store = new MemoryOutboxStore();
    store.put = (message) => void store.messages.set(message.txn, message);
    store.remove = () => {
      throw new AosError('noMemory', 'not enough space', { exitCode: constants.errno.ENOSPC });
    };
    const link = open({ store });
    const session = await cloud.nextSession();
    session.ack((await session.next())!.header.txn);
    await connected(link);
    const known = new Promise<void>((resolve) =>
      link.send(newState('new'), { durable: true, onAcknowledged: resolve }),
    );
    session.ack((await session.next())!.header.txn);
    await known;
    expect(link.connected).toBe(true);
  });

  test('a message that does not fit its schema is not sent and harms nobody', async () => {
    const { logger, lines } = recordingLogger();
    const link = open({ logger });
    await connected(link);
    link.send({ messageType: 'alerts', items: [{ tag: 'nonsense' }] } as unknown as Alerts);
    expect(lines.join('\n')).toContain('a message is not sent');
    expect(link.connected).toBe(true);
  });
});

describe('what the cloud sends', () => {
  const overrides: CloudMessage = { messageType: 'overrideEnvVars', items: [] };

  test('[CM-07] a message is acknowledged with its txn before it is carried out', async () => {
    let finish: (() => void) | undefined;
    const link = open();
    link.handle('overrideEnvVars', async () => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
    });
    const session = await cloud.nextSession();
    const txn = session.send(overrides);
    expect(await session.nextAck()).toBe(txn);
    finish?.();
  });

  test('a message that comes again is acknowledged again and carried out once', async () => {
    const handled: string[] = [];
    const link = open();
    link.handle('overrideEnvVars', (_, { txn }) => void handled.push(txn));
    const session = await cloud.nextSession();
    for (const txn of ['a', 'a', 'b', 'a']) session.send(overrides, txn);
    const acks = [];
    for (let count = 0; count < 4; count += 1) acks.push(await session.nextAck());
    expect(acks).toEqual(['a', 'a', 'b', 'a']);
    expect(handled).toEqual(['a', 'b']);
  });

  test('messages of one kind are carried out in order, another kind overtakes them', async () => {
    const order: string[] = [];
    const releases: (() => void)[] = [];
    const link = open();
    link.handle('overrideEnvVars', async (_, { txn }) => {
      order.push(`start ${txn}`);
      await new Promise<void>((resolve) => releases.push(resolve));
      order.push(`end ${txn}`);
    });
    link.handle('desiredStatus', (_, { txn }) => void order.push(txn));
    const session = await cloud.nextSession();
    session.send(overrides, 'a');
    session.send(overrides, 'b');
    session.send({ messageType: 'desiredStatus' }, 'c');
    await vi.waitFor(() => expect(order).toEqual(['start a', 'c']));
    releases[0]!();
    await vi.waitFor(() => expect(order).toEqual(['start a', 'c', 'end a', 'start b']));
    releases[1]!();
  });

  test('a handler that fails is logged, and the next message is carried out', async () => {
    const { logger, lines } = recordingLogger();
    const handled: string[] = [];
    const link = open({ logger });
    link.handle('overrideEnvVars', (_, { txn }) => {
      handled.push(txn);
      if (txn === 'a') throw new Error('no');
    });
    const session = await cloud.nextSession();
    session.send(overrides, 'a');
    session.send(overrides, 'b');
    await vi.waitFor(() => expect(handled).toEqual(['a', 'b']));
    expect(lines).toContain('a message of the cloud could not be carried out: no');
  });

  test('more messages of a kind than can wait are not acknowledged, so that the cloud sends them again', async () => {
    let release: (() => void) | undefined;
    const blocked = new Promise<void>((resolve) => {
      release = resolve;
    });
    const link = open({ numbers: { maxWaitingPerKind: 2 } });
    link.handle('overrideEnvVars', () => blocked);
    const session = await cloud.nextSession();
    for (const txn of ['a', 'b', 'c']) session.send(overrides, txn);
    session.send(
      {
        messageType: 'stateAcceptance',
        item: { id: '' },
        subject: { id: '' },
        instance: 0,
        checksum: '',
        result: 'accepted',
        reason: '',
      },
      'd',
    );
    expect([await session.nextAck(), await session.nextAck(), await session.nextAck()]).toEqual(['a', 'b', 'd']);
    release?.();
    await vi.waitFor(async () => {
      session.send(overrides, 'c');
      expect(await session.nextAck()).toBe('c');
    });
  });

  test.each<[string, Buffer | string]>([
    ['no JSON', Buffer.from('{')],
    ['[CM-12] another unit', frame({ systemId: 'unit-2' })],
    ['[CM-12] another version', frame({ version: 8 })],
    ['an unknown type', frame({}, { messageType: 'desiredUnitRootCertificates' })],
    ['a message of units', frame({}, { messageType: 'unitStatus', isDeltaInfo: false })],
    ['a required object that is missing', frame({}, { messageType: 'requestLog', logType: 'systemLog' })],
    ['a value nobody knows', frame({}, { messageType: 'requestLog', logType: 'noLog', filter: {} })],
  ])('%s: no answer, and the session goes on', async (_, bad) => {
    const handled: string[] = [];
    const { logger, lines } = recordingLogger();
    const link = open({ logger });
    link.handle('requestLog', () => void handled.push('log'));
    link.handle('desiredStatus', () => void handled.push('status'));
    const session = await cloud.nextSession();
    session.sendRaw(bad);
    session.send({ messageType: 'desiredStatus' }, 'good');
    expect(await session.nextAck()).toBe('good');
    expect(handled).toEqual(['status']);
    expect(lines.some((line) => line.startsWith('a message of the cloud is refused: '))).toBe(true);
  });

  test('what is wrong in the same way again and again is told once in a session', async () => {
    const told: string[] = [];
    const link = open({ events: { record: ({ what }) => void told.push(what) } });
    await connected(link);
    const session = await cloud.nextSession();
    for (const bad of ['{', '{', '[', '{']) session.sendRaw(Buffer.from(bad));
    session.send(overrides, 'good');
    expect(await session.nextAck()).toBe('good');
    const refusals = () => told.filter((what) => what === 'refused a message of the cloud').length;
    expect(refusals()).toBe(3);
    session.socket.terminate();
    const next = await cloud.nextSession();
    await vi.waitFor(() => expect(told.filter((what) => what === 'connected')).toHaveLength(2));
    next.sendRaw(Buffer.from('{'));
    await vi.waitFor(() => expect(refusals()).toBe(4));
  });

  test('text frames and fragmented messages are read', async () => {
    open();
    const session = await cloud.nextSession();
    const bytes = frame({ txn: 'text' });
    session.sendRaw(bytes.toString());
    expect(await session.nextAck()).toBe('text');
    const other = frame({ txn: 'parts' });
    session.socket.send(other.subarray(0, 20), { binary: true, fin: false });
    session.socket.send(other.subarray(20), { binary: true, fin: true });
    expect(await session.nextAck()).toBe('parts');
  });

  test('a bad entry of a list is refused alone; its handler and people learn of it', async () => {
    const told: string[] = [];
    const link = open({ events: { record: ({ what, because }) => void told.push(`${what}: ${because}`) } });
    const seen: unknown[] = [];
    link.handle('desiredStatus', ({ items }, { refused }) => {
      seen.push(
        items?.map(({ item }) => item.id),
        refused.map(({ list, index, id }) => ({ list, index, id })),
      );
    });
    const good = { version: '1.0.0', owner: { id: 'o' }, indexDigest: `sha256:${'0'.repeat(64)}` };
    const items = [
      { ...good, item: { id: 'good', type: 'service' } },
      { ...good, item: { id: 'bad' } },
      { ...good, identity: { urn: 'named:by:urn', type: 'component' } },
    ];
    (await cloud.nextSession()).sendRaw(frame({}, { messageType: 'desiredStatus', items }));
    await vi.waitFor(() => expect(seen).toEqual([['good', 'named:by:urn'], [{ list: 'items', index: 1, id: 'bad' }]]));
    expect(told.find((line) => line.startsWith('refused an entry of desiredStatus: '))).toContain(
      'items[1]: item: expected type service or component',
    );
  });

  test('[CM-13] all frames stand in the log of messages when there is one', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'link-'));
    try {
      const path = join(directory, 'logs', 'cloud.log');
      const link = open({ cloudMessageLog: path });
      const session = await cloud.nextSession();
      const txn = session.send(overrides);
      await session.nextAck();
      await link.stop();
      const lines = (await readFile(path, 'utf8')).trim().split('\n');
      expect(lines.filter((line) => line.startsWith('RX: ') && line.includes(txn))).toHaveLength(1);
      expect(lines.filter((line) => line.startsWith('TX: ') && line.includes(txn))).toHaveLength(1);
      expect(lines.some((line) => line.startsWith('TX: ') && line.includes('unitStatus'))).toBe(true);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

function frame(header: object, data: object = { messageType: 'desiredStatus' }): Buffer {
  return Buffer.from(JSON.stringify({ header: { version: 7, systemId: SYSTEM_ID, txn: 'some', ...header }, data }));
}
