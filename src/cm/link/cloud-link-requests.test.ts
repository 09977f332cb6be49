/** Requests to the cloud and their answers. */
import { describe, expect, test } from 'vitest';
import { makeLink } from './link-for-tests.ts';
import { alerts, cloud, connected, links, open, text } from './link-stage-for-tests.ts';

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
    // Something else is sent as often as it can be, and the request never in between.
    link.send(alerts('marker'));
    while (text((await session.next())?.data) !== 'marker');
    for (let copies = 1; copies < 4; copies += 1) expect(text((await session.next())?.data)).toBe('marker');
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
    link.send(alerts('marker'));
    expect(text((await second.next())?.data)).toBe('marker');
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
