import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import type { Alerts, CloudMessage, UnitMessage, UnitStatus } from '../../protocol/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { FakeCloud, makePki, SYSTEM_ID } from './cloud-for-tests.ts';
import type { CloudLink, CloudLinkOptions } from './cloud-link.ts';
import { MemoryOutboxStore, makeLink, recordingLogger, TestCredentials } from './link-for-tests.ts';
import { LINK_TABLES, SqliteOutboxStore } from './outbox-store.ts';

let cloud: FakeCloud;
let links: CloudLink[];

beforeEach(async () => {
  links = [];
  cloud = await FakeCloud.open();
});

afterEach(async () => {
  await Promise.all(links.map((link) => link.stop()));
  await cloud.close();
});

const fullStatus: UnitStatus = { messageType: 'unitStatus', isDeltaInfo: false, items: [] };

function open(options: Partial<CloudLinkOptions> = {}, url = cloud.discoveryUrl): CloudLink {
  const link = makeLink(url, options);
  link.setOpening(async () => fullStatus);
  links.push(link);
  link.start();
  return link;
}

const alerts = (message: string): Alerts => ({
  messageType: 'alerts',
  items: [{ timestamp: '2026-05-04T10:21:01.000000Z', tag: 'systemAlert', node: { codename: 'n' }, message }],
});

const newState = (state: string): UnitMessage => ({
  messageType: 'newState',
  item: { id: 'i' },
  subject: { id: 's' },
  instance: 0,
  stateChecksum: '00',
  state,
});

const text = (message: UnitMessage | undefined) =>
  message?.messageType === 'alerts' ? (message.items[0] as { message: string }).message : message?.messageType;

const connected = (link: CloudLink) => vi.waitFor(() => expect(link.connected).toBe(true));

describe('finding and opening', () => {
  test('[CM-01] discovery is asked by POST with version, system id and supported protocols', async () => {
    open();
    const { url, headers, body } = await cloud.nextDiscovery();
    expect(url).toBe('/sd/v7/');
    expect(body).toEqual({ version: 7, systemId: SYSTEM_ID, supportedProtocols: ['wss'] });
    expect(headers).toMatchObject({
      accept: 'application/json',
      'content-type': 'application/json',
      'content-length': String(JSON.stringify(body).length),
      connection: 'close',
    });
  });

  test('[CM-04] the WebSocket of the answer is opened with its token, without extensions and subprotocols', async () => {
    open();
    const { request } = await cloud.nextSession();
    expect(request.url).toBe('/ws/v7/');
    expect(request.headers).toMatchObject({ authorization: 'Bearer token-1', accept: 'application/json' });
    expect(request.headers['sec-websocket-extensions']).toBeUndefined();
    expect(request.headers['sec-websocket-protocol']).toBeUndefined();
  });

  test('[CM-11] each session opens with a full unit status, also when other messages waited', async () => {
    const link = makeLink(cloud.discoveryUrl);
    links.push(link);
    link.setOpening(async () => fullStatus);
    link.send(alerts('waited'));
    link.start();
    const first = await cloud.nextSession();
    expect((await first.next())?.data).toEqual(fullStatus);
    expect(text((await first.next())?.data)).toBe('waited');
    first.socket.terminate();
    expect((await (await cloud.nextSession()).next())?.data).toEqual(fullStatus);
  });

  test('a full unit status that is not ready in time does not hold up the session, and comes later', async () => {
    let ready: ((status: UnitStatus) => void) | undefined;
    const link = makeLink(cloud.discoveryUrl, { numbers: { openingTimeoutMs: 1 } });
    links.push(link);
    link.setOpening(
      () =>
        new Promise<UnitStatus>((resolve) => {
          ready = resolve;
        }),
    );
    link.send(alerts('waited'));
    link.start();
    const session = await cloud.nextSession();
    expect(text((await session.next())?.data)).toBe('waited');
    await connected(link);
    ready?.(fullStatus);
    expect((await session.next())?.data).toEqual(fullStatus);
  });

  test('[CM-03] a redirect is followed, within bounds', async () => {
    cloud.answer = ({ url }) =>
      url.endsWith('/other')
        ? { connectionInfo: [cloud.socketUrl] }
        : { errorCode: 1, connectionInfo: [`${cloud.discoveryUrl}other`] };
    const link = open();
    expect((await cloud.nextDiscovery()).url).toBe('/sd/v7/');
    expect((await cloud.nextDiscovery()).url).toBe('/sd/v7/other');
    await connected(link);

    cloud.answer = () => ({ errorCode: 'Redirect', connectionInfo: [cloud.discoveryUrl] });
    const lost = open();
    await vi.waitFor(() => expect(lost.state.lastError).toContain('sends on more than 3 times'));
  });

  test('[CM-03] a cloud that asks to come later is asked later', async () => {
    let answers = 0;
    cloud.answer = () => {
      answers += 1;
      return answers < 3 ? { errorCode: 2, nextRequestDelay: 1 } : { connectionInfo: [cloud.socketUrl] };
    };
    const { logger, lines } = recordingLogger();
    const link = open({ logger });
    await connected(link);
    expect(answers).toBe(3);
    expect(lines.filter((line) => line.includes('discovery answered repeatlater'))).toHaveLength(2);
    expect(link.state.lastError).toBeUndefined();
  });

  test.each<[string, () => object | number | string, string]>([
    ['another status', () => 503, 'answered with status 503, expected 200'],
    ['a redirect of HTTP', () => 302, 'answered with status 302'],
    ['no JSON', () => '{"connectionInfo":[', 'discovery answer is not JSON'],
    ['no addresses', () => ({}), 'names no address to connect to'],
    ['an endless answer', () => 'x'.repeat(100_000), 'more than 65536 bytes'],
  ])('an answer of discovery with %s is a failed attempt', async (_, answer, reason) => {
    cloud.answer = answer;
    const link = open();
    await vi.waitFor(() => expect(link.state.lastError).toContain(reason));
    cloud.answer = () => ({ connectionInfo: [cloud.socketUrl] });
    await connected(link);
  });

  test('addresses are tried in their order, and one that fails is not tried again', async () => {
    const dead = await FakeCloud.open();
    const { socketUrl } = dead;
    await dead.close();
    cloud.answer = () => ({ connectionInfo: [socketUrl, cloud.socketUrl] });
    const { logger, lines } = recordingLogger();
    const link = open({ logger });
    await connected(link);
    expect(lines.filter((line) => line.includes(`cannot connect to ${socketUrl}`))).toHaveLength(1);
    expect(link.state).toMatchObject({ state: 'connected', url: cloud.socketUrl });
    expect(cloud.discoveries.size).toBe(1);
  });

  test('a lost session is opened again without discovery; a refused token leads back to discovery', async () => {
    open();
    await cloud.nextDiscovery();
    (await cloud.nextSession()).socket.terminate();
    const second = await cloud.nextSession();
    expect(second.request.headers.authorization).toBe('Bearer token-1');
    expect(cloud.discoveries.size).toBe(0);

    cloud.answer = () => ({ connectionInfo: [cloud.socketUrl], authToken: 'token-2' });
    cloud.upgradeStatus = ({ headers }) => (headers.authorization === 'Bearer token-2' ? 101 : 401);
    second.socket.terminate();
    expect((await cloud.nextSession()).request.headers.authorization).toBe('Bearer token-2');
    expect(cloud.discoveries.size).toBe(1);
  });

  test('[CM-05] the cloud is judged by the configured root only, and sees the online certificate', async () => {
    const { root, server, online } = await makePki();
    const other = await makePki();
    const secure = await FakeCloud.open({ tls: { identity: server, ca: root } });
    try {
      const credentials = new TestCredentials(online);
      const link = open({ ca: root.pem, credentials }, secure.discoveryUrl);
      await connected(link);
      const session = await secure.nextSession();
      expect(session.serial).toBe((await secure.nextDiscovery()).serial);
      expect(session.serial).not.toBe('');

      const wary = open({ ca: other.root.pem, credentials }, secure.discoveryUrl);
      await vi.waitFor(() => expect(wary.state.lastError).toContain('certificate'));
      const stranger = open({ ca: root.pem, credentials: new TestCredentials(other.online) }, secure.discoveryUrl);
      await vi.waitFor(() => expect(stranger.state.lastError).toBeDefined());
      expect([wary.connected, stranger.connected]).toEqual([false, false]);
    } finally {
      await Promise.all(links.map((link) => link.stop()));
      await secure.close();
    }
  });

  test('[CM-14] after a renewal the next session shows the new certificate, and no message is lost', async () => {
    const { root, server, online } = await makePki();
    const { makeCertificate } = await import('../../storage/certificates-for-tests.ts');
    const renewed = await makeCertificate('unit', { issuer: root });
    const secure = await FakeCloud.open({ tls: { identity: server, ca: root } });
    try {
      const credentials = new TestCredentials(online);
      const link = open({ ca: root.pem, credentials }, secure.discoveryUrl);
      const first = await secure.nextSession();
      await connected(link);
      secure.acknowledges = false;
      link.send(alerts('in between'));
      await first.next();
      expect(text((await first.next())?.data)).toBe('in between');
      credentials.change(renewed);
      const second = await secure.nextSession();
      expect(second.serial).not.toBe(first.serial);
      expect((await second.next())?.data).toEqual(fullStatus);
      expect(text((await second.next())?.data)).toBe('in between');
    } finally {
      await Promise.all(links.map((link) => link.stop()));
      await secure.close();
    }
  });
});

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
    const link = open({ cloudResponseWaitTimeoutMs: 20 });
    const session = await cloud.nextSession();
    await connected(link);
    link.send(alerts('once'));
    await session.next();
    await session.next();
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(session.messages.size).toBe(0);
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

describe('requests', () => {
  const request = (correlationId: string) =>
    ({ messageType: 'requestBlobUrls', correlationId, digests: [`sha256:${'0'.repeat(64)}`] }) as const;

  test('[CM-16] an answer is found by its correlation id, whatever the order', async () => {
    const link = open();
    const session = await cloud.nextSession();
    await session.next();
    const never = new AbortController().signal;
    const answers = Promise.all([link.request(request('a'), never), link.request(request('b'), never)]);
    await session.next();
    await session.next();
    session.send({ messageType: 'blobUrls', correlationId: 'b', items: [] });
    session.send({ messageType: 'blobUrls', correlationId: 'a', items: [] });
    expect((await answers).map((answer) => 'correlationId' in answer && answer.correlationId)).toEqual(['a', 'b']);
  });

  test('a request waits for the link, and ends when nobody wants it any more', async () => {
    const link = makeLink(cloud.discoveryUrl);
    links.push(link);
    const abort = new AbortController();
    const unwanted = link.request(request('unwanted'), abort.signal);
    const wanted = link.request(request('wanted'), new AbortController().signal);
    abort.abort();
    await expect(unwanted).rejects.toMatchObject({ code: 'canceled' });
    link.start();
    const session = await cloud.nextSession();
    expect((await session.next())?.data).toMatchObject({ correlationId: 'wanted' });
    session.send({ messageType: 'blobUrls', correlationId: 'wanted', items: [] });
    await wanted;
  });

  test('a request that is not answered fails with timeout and is not sent again', async () => {
    cloud.acknowledges = false;
    const link = open({ cloudResponseWaitTimeoutMs: 20 });
    const session = await cloud.nextSession();
    session.ack((await session.next())!.header.txn);
    await expect(link.request(request('a'), new AbortController().signal)).rejects.toMatchObject({ code: 'timeout' });
    await session.next();
    const txn = session.send({ messageType: 'blobUrls', correlationId: 'a', items: [] });
    expect(await session.nextAck()).toBe(txn);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(session.messages.size).toBe(0);
  });

  test('[CM-16] an answer that a broken session has lost is asked for at once in the next one', async () => {
    const link = open();
    const first = await cloud.nextSession();
    await first.next();
    const answer = link.request(request('a'), new AbortController().signal);
    first.ack((await first.next())!.header.txn);
    first.socket.terminate();
    const second = await cloud.nextSession();
    await second.next();
    expect((await second.next())?.data).toMatchObject({ messageType: 'requestBlobUrls', correlationId: 'a' });
    second.send({ messageType: 'blobUrls', correlationId: 'a', items: [] });
    expect(await answer).toMatchObject({ messageType: 'blobUrls', correlationId: 'a' });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(second.messages.size).toBe(0);
  });

  test('stopping ends all requests', async () => {
    const link = open();
    const session = await cloud.nextSession();
    await connected(link);
    const waiting = link.request(request('a'), new AbortController().signal);
    const failed = expect(waiting).rejects.toMatchObject({ code: 'canceled' });
    await session.next();
    await link.stop();
    await failed;
    await session.closed;
    expect(link.state.state).toBe('stopped');
  });
});

describe('a session ends', () => {
  test('[CM-10] whoever listens hears of each change of the connection', async () => {
    const heard: boolean[] = [];
    const link = open();
    const end = link.onConnection((up) => heard.push(up));
    const session = await cloud.nextSession();
    await connected(link);
    session.socket.terminate();
    await cloud.nextSession();
    await vi.waitFor(() => expect(heard).toEqual([true, false, true]));
    end();
    await link.stop();
    expect(heard).toHaveLength(3);
  });

  test('a connection that went dead is noticed and opened anew', async () => {
    const link = open({ numbers: { pingIntervalMs: 5, deadAfterMs: 60 } });
    const session = await cloud.nextSession();
    await connected(link);
    await new Promise((resolve) => session.socket.once('ping', resolve));
    // From here on the other side is silent and says no goodbye.
    setTimeout(() => session.socket.pause(), 20);
    await cloud.nextSession();
    session.socket.terminate();
  });

  test('a peer that never answers a ping is not judged by its silence', async () => {
    const mute = await FakeCloud.open({ answersPings: false });
    try {
      const link = open({ numbers: { pingIntervalMs: 5, deadAfterMs: 10 } }, mute.discoveryUrl);
      const session = await mute.nextSession();
      await connected(link);
      for (let pings = 0; pings < 10; pings += 1) {
        await new Promise((resolve) => session.socket.once('ping', resolve));
      }
      expect(link.connected).toBe(true);
    } finally {
      await Promise.all(links.map((link) => link.stop()));
      await mute.close();
    }
  });

  test('[CM-15] a send that hangs is given up, and the message follows in the next session', async () => {
    const link = open({ numbers: { sendTimeoutMs: 1000 } });
    const session = await cloud.nextSession();
    await connected(link);
    session.socket.pause();
    const big = 'x'.repeat(4 * 1024 * 1024);
    for (let count = 0; count < 4; count += 1) link.send(alerts(big));
    const second = await cloud.nextSession();
    session.socket.terminate();
    await second.next();
    expect(text((await second.next())?.data)).toBe(big);
  });
});

test('what happens to the link is told with its reason, the same failure once', async () => {
  const told: string[] = [];
  let answers = 0;
  cloud.answer = () => {
    answers += 1;
    return answers <= 3 ? 503 : { connectionInfo: [cloud.socketUrl] };
  };
  const link = open({ events: { record: ({ what, because }) => void told.push(`${what}: ${because}`) } });
  await connected(link);
  (await cloud.nextSession()).socket.close(4001, 'maintenance');
  await vi.waitFor(() => expect(told).toHaveLength(4));
  expect(told).toEqual([
    `cannot connect to the cloud: discovery at ${cloud.discoveryUrl}: answered with status 503, expected 200`,
    `connected: discovery named ${cloud.socketUrl}`,
    'the session with the cloud ended: the cloud closed the connection (code 4001: maintenance)',
    `connected: discovery named ${cloud.socketUrl}`,
  ]);
});

test('a frame that is too large ends the session, and the next one begins', async () => {
  open({ numbers: { maxInboundFrameBytes: 1000 } });
  const session = await cloud.nextSession();
  session.sendRaw(Buffer.alloc(2000));
  await session.closed;
  await cloud.nextSession();
});

test('a link that stops does not wait for certificates', async () => {
  const credentials = new TestCredentials();
  credentials.identity = () => new Promise(() => undefined);
  const link = open({ credentials });
  await vi.waitFor(() => expect(link.state.state).toBe('discovering'));
  await link.stop();
  expect(link.state.state).toBe('stopped');
});

test('stopping while the cloud is out of reach is immediate', async () => {
  cloud.answer = () => 503;
  const link = open({
    store: new MemoryOutboxStore(),
    numbers: { reconnectFirstMs: 600_000, reconnectMaxMs: 600_000 },
  });
  await vi.waitFor(() => expect(link.state.state).toBe('waiting'));
  await link.stop();
  expect(link.state.state).toBe('stopped');
});

function frame(header: object, data: object = { messageType: 'desiredStatus' }): Buffer {
  return Buffer.from(JSON.stringify({ header: { version: 7, systemId: SYSTEM_ID, txn: 'some', ...header }, data }));
}
