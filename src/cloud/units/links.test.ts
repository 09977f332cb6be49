/** Links of units: who is let in, receipts, repetitions, nonsense. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fetchHttps, type HttpAnswer } from '../cloud-access-for-tests.ts';
import { eventually, TestCloud } from '../cloud-for-tests.ts';
import { ScriptedUnit } from '../scripted-unit-for-tests.ts';
import type { LoggedMessage } from '../store/messages.ts';

let cloud: TestCloud;

beforeAll(async () => {
  // On a busy machine an acknowledgement may be late: a time-out that comes early would look like a repetition.
  cloud = await TestCloud.start();
});

afterAll(() => cloud.close());

const messages = (unit: ScriptedUnit, query = '') =>
  cloud.must<LoggedMessage[]>('GET', `${unit.path}/messages${query}`);

describe('discovery', () => {
  test('a unit learns its WebSocket and a token, and that several blobs may be asked for at once', async () => {
    const unit = await ScriptedUnit.register(cloud);
    expect(await unit.discover()).toMatchObject({
      ...{ status: 200, version: 7, systemId: unit.systemId, errorCode: 0, blobBatch: true },
      connectionInfo: [cloud.endpoints.webSocketUrl],
      authToken: expect.stringMatching(/^.{32,256}$/),
    });
  });

  test('another protocol version gets no address', async () => {
    const unit = await ScriptedUnit.register(cloud);
    const answer = await unit.discover({ version: 8, systemId: unit.systemId, supportedProtocols: ['wss'] });
    expect(answer).toMatchObject({ connectionInfo: [], errorCode: 3 });
  });

  test('a unit cannot ask in the name of another', async () => {
    const unit = await ScriptedUnit.register(cloud);
    const answer = await unit.discover({ version: 7, systemId: 'other', supportedProtocols: ['wss'] });
    expect(answer.status).toBe(403);
    expect(answer.detail).toMatch(new RegExp(`of unit "${unit.systemId}"`));
  });

  test('nobody is served without a certificate of this cloud', async () => {
    const options = { method: 'POST', ca: cloud.root, agent: false } as const;
    await expect(fetchHttps(cloud.endpoints.discoveryUrl, options, '{}')).rejects.toThrow();
    const answer = await fetchHttps(`${cloud.endpoints.restUrl}/api/units`, { ca: cloud.root, agent: false });
    expect(answer.status).toBe(401);
  });

  test('a unit is no operator', async () => {
    const unit = await ScriptedUnit.register(cloud);
    const answer = await fetchHttps(`${cloud.endpoints.restUrl}/api/units`, {
      ...{ ca: cloud.root, agent: false, ...unit.identity },
    });
    expect(answer.status).toBe(403);
  });
});

test('a unit that asks the discovery without end is told when to come again, and others are served meanwhile', async () => {
  const small = await TestCloud.start({ discoveryRateLimit: { perSecond: 0.01, burst: 3 } });
  try {
    const [greedy, modest] = [await ScriptedUnit.register(small), await ScriptedUnit.register(small)];
    const ask = () =>
      fetchHttps(small.endpoints.discoveryUrl, { method: 'POST', ca: small.root, agent: false, ...greedy.identity });
    const answers: HttpAnswer[] = [];
    for (let asked = 0; asked < 4; asked += 1) answers.push(await ask());
    // What it asked was nothing, until it asked too often.
    expect(answers.map(({ status }) => status)).toEqual([400, 400, 400, 429]);
    const refused = answers[3]!;
    expect(refused.headers['content-type']).toBe('application/problem+json');
    expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    expect(await modest.discover()).toMatchObject({ status: 200, errorCode: 0 });
  } finally {
    await small.close();
  }
});

describe('the upgrade', () => {
  test('a wrong token is answered 401, so that the unit discovers again', async () => {
    const unit = await ScriptedUnit.register(cloud);
    await unit.discover();
    await expect(unit.connect('wrong')).rejects.toThrow(/401/);
    await expect(unit.connect('')).rejects.toThrow(/401/);
    await unit.connect();
    unit.disconnect();
  });

  test('a token is of no use to another unit', async () => {
    const unit = await ScriptedUnit.register(cloud);
    const other = await ScriptedUnit.register(cloud);
    const { authToken } = await unit.discover();
    await expect(other.connect(authToken)).rejects.toThrow(/401/);
  });

  test('a token outlives a restart of the cloud', async () => {
    const first = await TestCloud.start();
    const unit = await ScriptedUnit.register(first);
    const { authToken } = await unit.discover();
    await first.stop();
    const second = await TestCloud.start({}, first.directory);
    try {
      Object.assign(unit, { cloud: second });
      await unit.connect(authToken);
      unit.disconnect();
    } finally {
      await second.close();
    }
  });

  test('a cloud that stops says so, and does not wait for a unit that hangs', async () => {
    const stopping = await TestCloud.start();
    const unit = await ScriptedUnit.register(stopping);
    const hanging = await ScriptedUnit.register(stopping);
    await unit.comeOnline();
    await hanging.comeOnline();
    hanging.hang();
    const closed = unit.closed();
    await stopping.close();
    expect(await closed).toBe(1001);
    hanging.disconnect();
  });

  test('a unit that ends the connection over a message that is too large for it is told to the operator once, with the size', async () => {
    const unit = await ScriptedUnit.register(cloud);
    for (let time = 0; time < 2; time += 1) {
      await unit.comeOnline();
      unit.leave(1009);
      await unit.closed();
    }
    await unit.comeOnline();
    expect(await cloud.must('GET', `${unit.path}/alerts`)).toMatchObject([
      { tag: 'cloudAlert', data: { message: expect.stringMatching(/too large for it.* 8 MiB/) } },
    ]);
  });

  test('of two machines with one identity the first one stays, the other is told, and the operator sees it', async () => {
    const unit = await ScriptedUnit.register(cloud);
    await unit.comeOnline();
    const clone = ScriptedUnit.known(cloud, unit.systemId, unit.identity);
    await clone.discover();
    await clone.connect();
    expect(await clone.closed()).toBe(1008);
    await unit.acked(unit.sendStatus({}));
    expect(await cloud.must('GET', `${unit.path}/alerts`)).toMatchObject([
      {
        tag: 'cloudAlert',
        data: { message: expect.stringMatching(/another machine at .*127\.0\.0\.1 .*was refused/) },
      },
    ]);
    const history = await cloud.must<{ event: string }[]>('GET', `${unit.path}/history`);
    expect(history.map(({ event }) => event)).toContain('conflict');
    unit.disconnect();
  });

  test('a connection that a broken network has left gives way to the next one of its unit', async () => {
    const slow = await TestCloud.start({ ackTimeout: '1s' });
    try {
      const unit = await ScriptedUnit.register(slow);
      await unit.comeOnline();
      unit.hang();
      const again = ScriptedUnit.known(slow, unit.systemId, unit.identity);
      await again.comeOnline();
      expect(await slow.must('GET', unit.path)).toMatchObject({ online: true });
      expect(await slow.must('GET', `${unit.path}/alerts`)).toEqual([]);
      again.disconnect();
      unit.disconnect();
    } finally {
      await slow.close();
    }
  });
});

describe('receipts', () => {
  test('a message that was sent twice is acknowledged twice and handled once', async () => {
    const unit = await ScriptedUnit.register(cloud);
    await unit.comeOnline();
    const txn = randomUUID();
    const message = { messageType: 'requestBlobUrls', correlationId: 'once', digests: [] } as const;
    for (let copy = 0; copy < 3; copy += 1) {
      unit.send(message, txn);
      await unit.acked(txn);
    }
    await unit.acked(unit.sendStatus({}));
    await unit.next('blobUrls');
    expect(unit.inbox.filter(({ data }) => data.messageType === 'blobUrls')).toEqual([]);
    unit.disconnect();
  });

  test('a repetition is recognised on a later connection, too', async () => {
    const unit = await ScriptedUnit.register(cloud);
    await unit.comeOnline();
    const txn = unit.sendStatus({ subjects: [{ codename: 'old' }] });
    await unit.acked(txn);
    await unit.acked(unit.sendStatus({ subjects: [{ codename: 'new' }] }));
    unit.disconnect();
    await unit.connect();
    unit.send({ messageType: 'unitStatus', isDeltaInfo: true, subjects: [{ codename: 'old' }] }, txn);
    await unit.acked(txn);
    expect(await cloud.must('GET', unit.path)).toMatchObject({ subjects: [{ codename: 'new' }] });
    unit.disconnect();
  });

  test('what the unit does not acknowledge is sent four times with the same txn, then given up', async () => {
    const hasty = await TestCloud.start({ ackTimeout: '50ms' });
    try {
      const unit = await ScriptedUnit.register(hasty);
      unit.acknowledges = false;
      // The one with which the unit comes online.
      await unit.comeOnline();
      const log = () => hasty.must<LoggedMessage[]>('GET', `${unit.path}/messages?type=desiredStatus`);
      await eventually(async () => (await log()).map(({ outcome }) => outcome)).toEqual(['unacknowledged']);
      const [sent] = await log();
      const copies = [];
      for (let copy = 1; copy < 4; copy += 1) copies.push((await unit.next('desiredStatus')).header.txn);
      expect(copies).toEqual(Array(3).fill(sent!.txn));
      expect(unit.inbox).toEqual([]);
      unit.disconnect();
    } finally {
      await hasty.close();
    }
  });

  test('the next desired status waits until the former one was acknowledged', async () => {
    const unit = await ScriptedUnit.register(cloud);
    await cloud.publish('waits', '1.0.0');
    await unit.comeOnline();
    unit.acknowledges = false;
    const deploy = (numInstances: number) =>
      cloud.must('PUT', `${unit.path}/deployments/waits`, { version: '1.0.0', numInstances });
    await deploy(1);
    const first = await unit.next('desiredStatus');
    await deploy(2);
    await deploy(3);
    // Until now there are only copies of the first.
    expect(unit.inbox.every(({ header }) => header.txn === first.header.txn)).toBe(true);
    unit.acknowledges = true;
    unit.send({ messageType: 'ack' }, first.header.txn);
    await eventually(() => unit.inbox.findLast(({ data }) => data.messageType === 'desiredStatus')?.data).toMatchObject(
      { instances: [{ numInstances: 3 }] },
    );
    const numbers = unit.inbox.flatMap(({ data }) => (data.messageType === 'desiredStatus' ? data.instances! : []));
    expect(numbers.map(({ numInstances }) => numInstances)).not.toContain(2);
    unit.disconnect();
  });

  test('a nack on order lets the unit send again later, and then it counts', async () => {
    const unit = await ScriptedUnit.register(cloud);
    await unit.comeOnline();
    await cloud.must('POST', `${unit.path}/disturb`, { answer: 'nack', retryAfter: 70, messageType: 'unitStatus' });
    const txn = unit.sendStatus({ subjects: [{ codename: 'late' }] });
    const nack = await unit.next('nack');
    expect(nack).toMatchObject({ header: { txn }, data: { retryAfter: 70 } });
    expect(await cloud.must('GET', unit.path)).toMatchObject({ subjects: [] });
    unit.send({ messageType: 'unitStatus', isDeltaInfo: true, subjects: [{ codename: 'late' }] }, txn);
    await unit.acked(txn);
    expect(await cloud.must('GET', unit.path)).toMatchObject({ subjects: [{ codename: 'late' }] });
    unit.disconnect();
  });

  test.each([0, 1, 2, 3, 4])('a link that is to break after %i messages carries so many', async (count) => {
    const unit = await ScriptedUnit.register(cloud);
    await unit.comeOnline();
    // The acknowledgement of the desired status is the last one that is counted by nobody.
    await eventually(async () => (await messages(unit, '?type=desiredStatus')).at(-1)?.outcome).toBe('acknowledged');
    let isOpen = true;
    const closed = unit.closed().then(() => {
      isOpen = false;
    });
    await cloud.must('POST', `${unit.path}/disconnect`, { afterMessages: count });
    let [sent, acknowledged] = [0, 0];
    while (isOpen && count > 0) {
      sent += 1;
      const acked = unit.acked(unit.sendStatus({ subjects: [{ codename: `s${sent}` }] })).then(() => {
        acknowledged += 1;
      });
      await Promise.race([acked, closed]);
    }
    await closed;
    expect(acknowledged).toBe(Math.floor(count / 2));
    const { subjects } = await cloud.must<{ subjects: { codename: string }[] }>('GET', unit.path);
    expect(subjects.map(({ codename }) => codename)).toEqual(count === 0 ? [] : [`s${Math.ceil(count / 2)}`]);
  });

  test('silence on order is silence', async () => {
    const unit = await ScriptedUnit.register(cloud);
    await unit.comeOnline();
    await cloud.must('POST', `${unit.path}/disturb`, { answer: 'silence', count: 2 });
    const silent = [unit.sendStatus({}), unit.sendStatus({})];
    await unit.acked(unit.sendStatus({}));
    expect(unit.acks).not.toEqual(expect.arrayContaining(silent));
    unit.disconnect();
  });
});

describe('nonsense', () => {
  const header = (unit: ScriptedUnit, more: object = {}) => ({
    ...{ version: 7, systemId: unit.systemId, createdAt: '2026-01-01T00:00:00.000000Z', txn: randomUUID(), ...more },
  });

  test.each([
    ['no JSON', () => 'nonsense', /not JSON/],
    ['no data', (unit: ScriptedUnit) => JSON.stringify({ header: header(unit) }), /data/],
    [
      'another system id',
      (unit: ScriptedUnit) =>
        JSON.stringify({ header: header(unit, { systemId: 'other' }), data: { messageType: 'unitStatus' } }),
      /header\.systemId/,
    ],
    [
      'an unknown type',
      (unit: ScriptedUnit) => JSON.stringify({ header: header(unit), data: { messageType: 'hello' } }),
      /messageType.*hello/,
    ],
    [
      'a type of the other direction',
      (unit: ScriptedUnit) => JSON.stringify({ header: header(unit), data: { messageType: 'desiredStatus' } }),
      /messageType.*desiredStatus/,
    ],
    [
      'a wrong value',
      (unit: ScriptedUnit) =>
        JSON.stringify({
          header: header(unit),
          data: { messageType: 'unitStatus', items: [{ item: { id: 'x' }, version: '1', state: 'dancing' }] },
        }),
      /unitStatus: items\[0\]\.state.*dancing/,
    ],
  ] as const)('%s is kept as refused, and the link stays', async (_, frame, words) => {
    const unit = await ScriptedUnit.register(cloud);
    await unit.comeOnline();
    unit.sendFrame(frame(unit));
    await unit.acked(unit.sendStatus({}));
    const refused = (await messages(unit)).filter(({ outcome }) => outcome === 'refused');
    expect(refused).toHaveLength(1);
    expect(refused[0]!.detail).toMatch(words);
    unit.disconnect();
  });

  test('a refused message whose txn can be read is acknowledged: its repetition would be as bad', async () => {
    const unit = await ScriptedUnit.register(cloud);
    await unit.comeOnline();
    const txn = randomUUID();
    unit.sendFrame(JSON.stringify({ header: header(unit, { txn }), data: { messageType: 'hello' } }));
    await unit.acked(txn);
    unit.disconnect();
  });

  test('text frames are read like binary ones', async () => {
    const unit = await ScriptedUnit.register(cloud);
    await unit.comeOnline();
    const txn = randomUUID();
    unit.sendFrame(JSON.stringify({ header: header(unit, { txn }), data: { messageType: 'alerts', items: [] } }));
    await unit.acked(txn);
    unit.disconnect();
  });
});

test('secrets are not in the log of messages', async () => {
  const unit = await ScriptedUnit.register(cloud);
  const { layer } = await cloud.publish('secret', '1.0.0');
  await unit.comeOnline();
  await cloud.must('PUT', `${unit.path}/deployments/secret`, { version: '1.0.0' });
  await unit.next('desiredStatus');
  unit.send({ messageType: 'requestBlobUrls', correlationId: 'x', digests: [layer] });
  const { data } = await unit.next('blobUrls');
  const key = data.items[0]!.decryptInfo!.blockKey;
  expect(Buffer.from(key, 'base64')).toHaveLength(32);
  const log = JSON.stringify(await messages(unit));
  expect(log).toContain('blobUrls');
  expect(log).not.toContain(key);
  unit.disconnect();
});

test('the log of messages is bounded, and can be asked for one type', async () => {
  const small = await TestCloud.start({ messageLogLimit: 20 });
  try {
    const unit = await ScriptedUnit.register(small);
    await unit.comeOnline();
    for (let index = 0; index < 230; index += 1) await unit.acked(unit.sendStatus({}));
    const all = await small.must<LoggedMessage[]>('GET', `${unit.path}/messages?limit=1000`);
    expect(all.length).toBeLessThanOrEqual(120);
    expect(all.map(({ id }) => id)).toEqual(all.map(({ id }) => id).toSorted((a, b) => a - b));
    const some = await small.must<LoggedMessage[]>('GET', `${unit.path}/messages?limit=5&type=unitStatus`);
    expect(some.map(({ messageType }) => messageType)).toEqual(Array(5).fill('unitStatus'));
    unit.disconnect();
  } finally {
    await small.close();
  }
});
