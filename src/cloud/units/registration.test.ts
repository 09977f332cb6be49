import { createPrivateKey, X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestCloud } from '../cloud-for-tests.ts';
import { makeCsr, REGISTRATION_PATH, registrationOf } from '../scripted-unit-for-tests.ts';
import { type RegistrationAnswer, RegistrationRequest, requestedCertificates } from './registration.ts';

let cloud: TestCloud;
let count = 0;

beforeAll(async () => {
  cloud = await TestCloud.start();
});

afterAll(() => cloud.close());

const newUnit = () => {
  count += 1;
  return registrationOf(`blank-${count}`);
};

const register = (request: object) => cloud.must<RegistrationAnswer>('POST', REGISTRATION_PATH, request);

describe('what provisioning tools ask for', () => {
  test('the operator is an OEM, and the tool is told which version it must exceed', async () => {
    expect(await cloud.must('GET', '/api/v11/users/me/')).toMatchObject({ role: 'oem', username: 'operator' });
    expect(await cloud.must('GET', '/api/v11/units/provisioning/supported-software/')).toMatchObject({
      software: [{ name: 'aos-provisioning', min_version: expect.any(String) }],
    });
  });

  test.each(['v10', 'v11'])('a unit is unknown, then provisioned (%s)', async (version) => {
    const { request } = await newUnit();
    const path = `/api/${version}/units/?system_uid=${request.system_uid}`;
    expect(await cloud.must('GET', path)).toEqual({ items: [], total: 0 });
    await cloud.must('POST', `/api/${version}/units/provisioning/`, request);
    expect(await cloud.must('GET', path)).toMatchObject({
      ...{ items: [{ id: request.system_uid, status: 'provisioned' }], total: 1 },
    });
  });
});

describe('registration', () => {
  test('every request is answered by a certificate for its key, type and node', async () => {
    const { request, keys } = await newUnit();
    const second = await makeCsr(request.system_uid, ['second']);
    request.additional_csrs.push({ cert_type: 'iam', csr: second.csr, node_id: 'second' });
    const answer = await register(request);
    expect(answer.system_uid).toBe(request.system_uid);
    expect(answer.additional_certs.map(({ cert_type, node_id }) => [cert_type, node_id])).toEqual([
      ['iam', 'main'],
      ['iam', 'second'],
    ]);
    const belongs = (chain: string, key: string) => new X509Certificate(chain).checkPrivateKey(createPrivateKey(key));
    expect(belongs(answer.online_certificate, keys.online)).toBe(true);
    expect(belongs(answer.offline_certificate, keys.offline)).toBe(true);
    expect(belongs(answer.additional_certs[1]!.cert, second.key)).toBe(true);
  });

  test('the same request again gets the same answer: the first one may have been lost', async () => {
    const { request } = await newUnit();
    const first = await register(request);
    expect(await register(request)).toEqual(first);
  });

  test('two equal requests at once make one unit with one set of certificates', async () => {
    const { request } = await newUnit();
    const answers = await Promise.all([register(request), register(request)]);
    expect(answers[0]).toEqual(answers[1]);
    const certificates = await cloud.must<unknown[]>('GET', `/api/units/${request.system_uid}/certificates`);
    expect(certificates).toHaveLength(3);
  });

  test('another registration of a provisioned unit is refused, with what to do', async () => {
    const { request } = await newUnit();
    await register(request);
    const other = await registrationOf(request.system_uid);
    const answer = await cloud.ask('POST', REGISTRATION_PATH, other.request);
    expect(answer.status).toBe(400);
    expect(answer.body.toString()).toMatch(/provisioned already; delete or reset it first/);
  });

  test.each([
    [{ online_public_csr: 'broken' }, /certificate request .*online/],
    [{ system_uid: '' }, /system_uid/],
    [{ secure_data: 'no json' }, /secure_data is not JSON/],
    [{ secure_data: '[]' }, /secure_data: expected the text of a JSON object/],
  ])('%j is refused by name, and no unit is made', async (fault, words) => {
    const { request } = await newUnit();
    const answer = await cloud.ask('POST', REGISTRATION_PATH, { ...request, ...fault });
    expect(answer.status).toBe(400);
    expect(answer.body.toString()).toMatch(words);
    expect((await cloud.ask('GET', `/api/units/${request.system_uid}`)).status).toBe(404);
  });

  test('without node ids all keys are of the main node, under its name of either API', () => {
    const main = { attrs: { MainNode: '' } };
    for (const [node, nodeId] of [
      [{ identity: { codename: 'six' }, ...main }, 'six'],
      [{ id: 'five', ...main }, 'five'],
    ] as const) {
      const request = RegistrationRequest.parse({
        ...{ system_uid: 'x', online_public_csr: 'a', offline_public_csr: 'b', nodes: [{ id: 'other' }, node] },
        additional_csrs: [{ cert_type: 'cm', csr: 'c' }],
      });
      expect(requestedCertificates(request)).toEqual([
        { type: 'online', nodeId, csr: 'a' },
        { type: 'offline', nodeId, csr: 'b' },
        { type: 'cm', nodeId, csr: 'c' },
      ]);
    }
  });
});
