import 'reflect-metadata';
import { once } from 'node:events';
import * as x509 from '@peculiar/x509';
import { describe, expect, test, vi } from 'vitest';
import type { UnitStatus } from '../../protocol/index.ts';
import { FakeCloud, makePki, SYSTEM_ID } from './cloud-for-tests.ts';
import { MemoryOutboxStore, makeLink, recordingLogger, TestCredentials } from './link-for-tests.ts';
import { alerts, cloud, connected, fullStatus, links, open, text } from './link-stage-for-tests.ts';

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

  test('[CM-02] [CM-03] of several addresses one that fails gives way, one that asks to come later does not', async () => {
    const other = await FakeCloud.open();
    try {
      const names = [cloud, other].map(({ discoveryUrl }) => {
        return Buffer.concat([Buffer.from([0x86, discoveryUrl.length]), Buffer.from(discoveryUrl)]);
      });
      const value = Buffer.concat([Buffer.from([0x30, names[0]!.length + names[1]!.length]), ...names]);
      const { makeCertificate } = await import('../../storage/certificates-for-tests.ts');
      const extensions = [new x509.Extension('2.5.29.18', false, value)];
      const credentials = new TestCredentials(await makeCertificate('unit', { extensions }));
      let asked = 0;
      cloud.answer = () => {
        asked += 1;
        return asked < 4 ? { errorCode: 2, nextRequestDelay: 1 } : 503;
      };
      await connected(open({ credentials }));
      expect([asked, other.discoveries.size]).toEqual([4, 1]);
    } finally {
      await Promise.all(links.map((link) => link.stop()));
      await other.close();
    }
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
      expect(secure.discoveries.size, 'neither has said a word').toBe(0);
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

test('a frame that is too large ends the session in words and with code 1009, and the next one begins', async () => {
  const told: string[] = [];
  const events = {
    record: ({ what, because }: { what: string; because: string }) => void told.push(`${what}: ${because}`),
  };
  open({ numbers: { maxInboundFrameBytes: 1000 }, events });
  const session = await cloud.nextSession();
  const code = once(session.socket, 'close');
  session.sendRaw(Buffer.alloc(2000));
  expect((await code)[0]).toBe(1009);
  await cloud.nextSession();
  expect(told).toContain(
    'the session with the cloud ended: the cloud sent a message of more than 1000 bytes, the most that is read; it will send it again',
  );
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
