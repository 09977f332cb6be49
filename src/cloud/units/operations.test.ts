/** What operators do with a unit, as the unit sees it. */
import { randomUUID, X509Certificate } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { NodeStatus } from '../../protocol/index.ts';
import { eventually, TestCloud } from '../cloud-for-tests.ts';
import { makeCsr, ScriptedUnit } from '../scripted-unit-for-tests.ts';
import type { CertificateRow } from '../store/certificates.ts';
import { stateChecksum } from '../store/instance-states.ts';

let cloud: TestCloud;
let unit: ScriptedUnit;

const node = (codename: string, state: NodeStatus['state'] = 'provisioned'): NodeStatus => ({
  identity: { codename },
  nodeGroupSubject: { codename: 'gateway' },
  ...{ maxDmips: 1000, totalRam: 1024, osInfo: { os: 'linux' }, state, isConnected: true, errorInfo: undefined },
});

const instance = { item: { id: 'telemetry' }, subject: { id: 'default' }, instance: 0 };

beforeAll(async () => {
  cloud = await TestCloud.start();
});

afterAll(() => cloud.close());

beforeEach(async () => {
  unit = await ScriptedUnit.register(cloud);
  await unit.comeOnline({ nodes: [node('main'), node('aux')] });
});

afterEach(() => unit.disconnect());

const certificates = () => cloud.must<CertificateRow[]>('GET', `${unit.path}/certificates`);

describe('configuration and nodes', () => {
  test('a unit configuration reaches the unit until it has taken it', async () => {
    const config = { formatVersion: '7', version: '1.0.0', nodes: [{ nodeGroupSubject: { codename: 'gateway' } }] };
    await cloud.must('PUT', `${unit.path}/unit-config`, config);
    expect((await unit.next('desiredStatus')).data.unitConfig).toMatchObject(config);
    await unit.acked(unit.sendStatus({ unitConfig: [{ version: '1.0.0', state: 'installed', errorInfo: undefined }] }));
    await cloud.must('POST', `${unit.path}/resend`);
    expect((await unit.next('desiredStatus')).data.unitConfig).toBeUndefined();
  });

  test('the version of a unit configuration rises', async () => {
    await cloud.must('PUT', `${unit.path}/unit-config`, { version: '2.0.0' });
    const answer = await cloud.ask('PUT', `${unit.path}/unit-config`, { version: '2.0.0' });
    expect(answer.status).toBe(409);
  });

  test('a node is paused and resumed', async () => {
    await cloud.must('PUT', `${unit.path}/nodes/aux/state`, { state: 'paused' });
    expect((await unit.next('desiredStatus')).data.nodes).toEqual([{ item: { codename: 'aux' }, state: 'paused' }]);
    await unit.acked(unit.sendStatus({ nodes: [node('aux', 'paused')] }));
    await cloud.must('PUT', `${unit.path}/nodes/aux/state`, { state: 'provisioned' });
    expect((await unit.next('desiredStatus')).data.nodes).toEqual([
      { item: { codename: 'aux' }, state: 'provisioned' },
    ]);
  });

  test('"resume" that is ordered before the unit has told that its node is paused is not lost', async () => {
    const order = (state: string) => cloud.must('PUT', `${unit.path}/nodes/aux/state`, { state });
    await unit.acked(unit.sendStatus({ nodes: [node('aux', 'provisioned')] }));
    await order('paused');
    expect((await unit.next('desiredStatus')).data.nodes).toEqual([{ item: { codename: 'aux' }, state: 'paused' }]);
    await order('provisioned');
    // To the cloud the node has not been paused yet.
    expect((await unit.next('desiredStatus')).data.nodes).toBeUndefined();
    await unit.acked(unit.sendStatus({ nodes: [node('aux', 'paused')] }));
    expect((await unit.next('desiredStatus')).data.nodes).toEqual([
      { item: { codename: 'aux' }, state: 'provisioned' },
    ]);
    // A unit that says the same again is not told again.
    await unit.acked(unit.sendStatus({ nodes: [node('aux', 'paused')] }));
    expect(unit.inbox.filter(({ data }) => data.messageType === 'desiredStatus')).toEqual([]);
    await unit.acked(unit.sendStatus({ nodes: [node('aux', 'provisioned')] }));
  });

  test('environment variables are sent now, and again whenever the unit comes', async () => {
    const items = [{ item: { id: 'telemetry' }, variables: [{ name: 'LEVEL', value: 'debug' }] }];
    await cloud.must('PUT', `${unit.path}/env-vars`, { items });
    expect((await unit.next('overrideEnvVars')).data.items).toEqual(items);
    unit.disconnect();
    await unit.comeOnline();
    expect((await unit.next('overrideEnvVars')).data.items).toEqual(items);
  });

  test('a bad variable is refused by name', async () => {
    const answer = await cloud.ask('PUT', `${unit.path}/env-vars`, { items: [{ variables: [{ name: 'A=B' }] }] });
    expect(answer.status).toBe(400);
    expect(answer.body.toString()).toMatch(/items\[0\]\.variables\[0\]\.name/);
  });
});

describe('logs', () => {
  test('all nodes are asked by name, and the parts make one text', async () => {
    const { correlationId } = await cloud.must<{ correlationId: string }>('POST', `${unit.path}/logs`, {
      logType: 'systemLog',
    });
    const { data } = await unit.next('requestLog');
    expect(data.filter.nodeIds).toEqual([{ codename: 'main' }, { codename: 'aux' }]);
    const part = (codename: string, number: number, text: string) =>
      unit.send({
        ...{ messageType: 'pushLog', correlationId, node: { codename }, part: number, partsCount: 2 },
        ...{ content: gzipSync(text).toString('base64'), status: 'ok', errorInfo: undefined },
      });
    await unit.acked(part('main', 1, 'first\n'));
    const path = `${unit.path}/logs/${correlationId}`;
    expect(await cloud.must('GET', path)).toMatchObject([{ nodeId: 'main', complete: false, text: 'first\n' }]);
    await unit.acked(part('main', 2, 'second\n'));
    const failure = { aosCode: 5, exitCode: 0, message: 'no journal' };
    await unit.acked(
      unit.send({
        ...{ messageType: 'pushLog', correlationId, node: { codename: 'aux' }, part: 0, partsCount: 0 },
        ...{ content: '', status: 'error', errorInfo: failure },
      }),
    );
    expect(await cloud.must('GET', path)).toEqual([
      { nodeId: 'aux', status: 'error', error: 'no journal', complete: true, text: '' },
      { nodeId: 'main', status: 'ok', complete: true, text: 'first\nsecond\n' },
    ]);
  });
});

describe('states of instances', () => {
  test('a new state is accepted, kept, and given back when the unit asks', async () => {
    const state = '{"odometer":1042}';
    unit.send({ messageType: 'newState', ...instance, state, stateChecksum: stateChecksum(state) });
    expect((await unit.next('stateAcceptance')).data).toMatchObject({
      ...{ ...instance, checksum: stateChecksum(state), result: 'accepted' },
    });
    unit.send({ messageType: 'stateRequest', ...instance, default: false });
    expect((await unit.next('updateState')).data).toMatchObject({ state, stateChecksum: stateChecksum(state) });
  });

  test('a state that is not what its checksum says is rejected and not kept', async () => {
    unit.send({ messageType: 'newState', ...instance, state: 'a', stateChecksum: stateChecksum('b') });
    expect((await unit.next('stateAcceptance')).data).toMatchObject({ result: 'rejected' });
    expect(await cloud.must('GET', `${unit.path}/states`)).toEqual([]);
  });

  test('without a state the answer is the empty text with its checksum', async () => {
    unit.send({ messageType: 'stateRequest', ...instance, default: false });
    expect((await unit.next('updateState')).data).toMatchObject({
      state: '',
      stateChecksum: '6b4e03423667dbb73b6e15454f0eb1abd4597f9a1b078e3f5b5a6bc7',
    });
  });

  test('an operator sets a state', async () => {
    await cloud.must('PUT', `${unit.path}/states/telemetry/default/0`, { state: 'new' });
    expect((await unit.next('updateState')).data).toMatchObject({ ...instance, state: 'new' });
  });
});

describe('certificates', () => {
  test('renewal: notification with secrets, requests, new certificates, confirmation', async () => {
    await cloud.must('POST', `${unit.path}/certificates/renew`, { types: ['online'] });
    const { data: notification } = await unit.next('renewCertificatesNotification');
    expect(notification.certificates).toMatchObject([{ type: 'online', node: { codename: 'main' } }]);
    expect(notification.unitSecrets.nodes).toEqual([{ node: { codename: 'main' }, secret: 'password of main' }]);
    const { csr } = await makeCsr(unit.systemId);
    unit.send({
      messageType: 'issueUnitCertificates',
      requests: [{ type: 'online', node: { codename: 'main' }, csr }],
    });
    const { data: issued } = await unit.next('issuedUnitCertificates');
    const leaf = new X509Certificate(issued.certificates[0]!.certificateChain);
    expect(leaf.subject).toMatch(`CN=${unit.systemId}-online`);
    expect(issued.certificates[0]!.certificateChain.match(/BEGIN CERTIFICATE/g)).toHaveLength(3);
    const serial = leaf.serialNumber.toLowerCase();
    await unit.acked(
      unit.send({
        messageType: 'installUnitCertificatesConfirmation',
        certificates: [{ type: 'online', node: { codename: 'main' }, serial, errorInfo: undefined }],
      }),
    );
    const row = (await certificates()).find((entry) => entry.serial === serial);
    expect(row?.installedAt).not.toBeNull();
  });

  test('a request that is broken leaves the others alone', async () => {
    const { csr } = await makeCsr(unit.systemId);
    unit.send({
      messageType: 'issueUnitCertificates',
      requests: [
        { type: 'cm', node: { codename: 'main' }, csr: 'broken' },
        { type: 'diskencryption', node: { codename: 'main' }, csr },
        { type: 'sm', node: { codename: 'main' }, csr },
      ],
    });
    const { data } = await unit.next('issuedUnitCertificates');
    expect(data.certificates.map(({ type }) => type)).toEqual(['sm']);
  });

  test('a node is taken in and taken out again; its certificates end with it', async () => {
    await cloud.must('POST', `${unit.path}/nodes/new/provision`);
    const { data: start } = await unit.next('startProvisioningRequest');
    expect(start).toMatchObject({ node: { codename: 'new' }, password: expect.stringMatching(/^[A-Za-z0-9]{15}$/) });
    const [iam, sm] = [await makeCsr(unit.systemId, ['new']), await makeCsr(unit.systemId)];
    const { correlationId } = start;
    unit.send({
      ...{ messageType: 'startProvisioningResponse', correlationId, node: { codename: 'new' }, errorInfo: undefined },
      csrs: [
        { type: 'iam', csr: iam.csr },
        { type: 'sm', csr: sm.csr },
      ],
    });
    const { data: finish } = await unit.next('finishProvisioningRequest');
    expect(finish).toMatchObject({ correlationId, node: { codename: 'new' }, password: start.password });
    // `iam` last: servers restart with it.
    expect(finish.certificates.map(({ type }) => type)).toEqual(['sm', 'iam']);
    await unit.acked(
      unit.send({
        ...{
          messageType: 'finishProvisioningResponse',
          correlationId,
          node: { codename: 'new' },
          errorInfo: undefined,
        },
      }),
    );
    await cloud.must('POST', `${unit.path}/nodes/new/deprovision`);
    const { data: end } = await unit.next('deprovisioningRequest');
    expect(end.password).toBe(start.password);
    await unit.acked(
      unit.send({
        ...{ messageType: 'deprovisioningResponse', node: { codename: 'new' }, errorInfo: undefined },
        ...(end.correlationId !== undefined && { correlationId: end.correlationId }),
      }),
    );
    await unit.acked(unit.sendStatus({}));
    const ofNode = (await certificates()).filter(({ nodeId }) => nodeId === 'new');
    expect(ofNode).toHaveLength(2);
    expect(ofNode.every(({ revokedAt }) => revokedAt !== null)).toBe(true);
    expect((await certificates()).some(({ revokedAt }) => revokedAt === null)).toBe(true);
  });
});

describe('blobs', () => {
  test('a unit gets the blobs of its own items only, several in one answer', async () => {
    const mine = await cloud.publish(`mine-${unit.systemId}`, '1.0.0');
    const other = await cloud.publish(`other-${unit.systemId}`, '1.0.0');
    await cloud.must('PUT', `${unit.path}/deployments/mine-${unit.systemId}`, { version: '1.0.0' });
    unit.send({
      ...{ messageType: 'requestBlobUrls', correlationId: 'x', digests: [mine.index, other.layer, mine.layer] },
    });
    const { data } = await unit.next('blobUrls');
    expect(data.items.map(({ digest }) => digest)).toEqual([mine.index, mine.layer]);
  });
});

describe('the end of a unit', () => {
  const isGone = async () => {
    await expect(unit.discover()).resolves.toMatchObject({ status: 403 });
    await expect(unit.connect()).rejects.toThrow(/403/);
  };

  test('a deleted unit is cut off, unknown, and its certificates open nothing', async () => {
    const closed = unit.closed();
    expect((await cloud.ask('DELETE', unit.path)).status).toBe(204);
    expect(await closed).toBe(1008);
    expect((await cloud.ask('GET', unit.path)).status).toBe(404);
    await isGone();
  });

  test('a unit that was reset keeps its deployments and is provisioned anew', async () => {
    const item = `kept-${unit.systemId}`;
    await cloud.publish(item, '1.0.0');
    await cloud.must('PUT', `${unit.path}/deployments/${item}`, { version: '1.0.0' });
    const closed = unit.closed();
    await cloud.must('POST', `${unit.path}/reset`);
    expect(await closed).toBe(1008);
    await isGone();
    const again = await ScriptedUnit.register(cloud, unit.systemId);
    await again.discover();
    await again.connect();
    again.sendStatus({ isDeltaInfo: false });
    expect((await again.next('desiredStatus')).data.items).toMatchObject([{ item: { id: item } }]);
    again.disconnect();
  });
});

describe('the link', () => {
  test.each([
    [{ abrupt: true }, 1006],
    [{}, 1008],
  ])('it is dropped on order: %j', async (how, code) => {
    const closed = unit.closed();
    await cloud.must('POST', `${unit.path}/disconnect`, how);
    expect(await closed).toBe(code);
    await eventually(() => cloud.must('GET', unit.path)).toMatchObject({ online: false });
  });

  test('any message of a cloud is sent on order, and nothing else', async () => {
    await cloud.must('POST', `${unit.path}/messages`, {
      ...{ messageType: 'stateAcceptance', ...instance, checksum: 'ab', result: 'rejected', reason: 'because' },
    });
    expect((await unit.next('stateAcceptance')).data.reason).toBe('because');
    for (const messageType of ['ack', 'unitStatus', 'toString']) {
      expect((await cloud.ask('POST', `${unit.path}/messages`, { messageType })).status).toBe(400);
    }
  });

  test('what needs the unit is refused while it is offline', async () => {
    unit.disconnect();
    await eventually(() => cloud.must('GET', unit.path)).toMatchObject({ online: false });
    for (const path of ['resend', 'certificates/renew', 'nodes/x/provision', 'disconnect']) {
      const answer = await cloud.ask('POST', `${unit.path}/${path}`);
      expect([path, answer.status]).toEqual([path, 409]);
      expect(answer.body.toString()).toMatch(/is offline/);
    }
  });

  test(`a unit that nobody knows is named in the refusal`, async () => {
    const answer = await cloud.ask('GET', `/api/units/${randomUUID()}`);
    expect(answer.status).toBe(404);
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(JSON.parse(answer.body.toString())).toMatchObject({ status: 404, detail: expect.stringMatching(/no unit/) });
  });
});
