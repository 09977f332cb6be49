/** Bundles as a real cloud sends them. */
import { createHash, verify, X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TarReader } from '../../platform/archive/index.ts';
import { BUNDLE_SIGNER_USAGE, BundleManifest, BundleSignature, decodeCloudMessage } from '../../protocol/index.ts';
import { fetchHttps } from '../cloud-access-for-tests.ts';
import { TestCloud } from '../cloud-for-tests.ts';
import { makeCsr, registrationOf, ScriptedUnit } from '../scripted-unit-for-tests.ts';

let cloud: TestCloud;
let car: ScriptedUnit;
let bus: ScriptedUnit;

beforeAll(async () => {
  cloud = await TestCloud.start();
  car = await ScriptedUnit.register(cloud);
  bus = await ScriptedUnit.register(cloud);
});

afterAll(() => cloud.close());

async function entriesOf(tar: Buffer): Promise<[name: string, content: Buffer][]> {
  const entries: [string, Buffer][] = [];
  const reader = new TarReader({
    begin: ({ name }) => void entries.push([name, Buffer.alloc(0)]),
    data: (piece) => {
      const last = entries.at(-1)!;
      last[1] = Buffer.concat([last[1], piece]);
      return undefined;
    },
    end: () => undefined,
  });
  await reader.push(tar);
  reader.finish();
  return entries;
}

async function bundleFor(...units: ScriptedUnit[]) {
  const answer = await cloud.ask('POST', '/api/bundles', { units: units.map(({ systemId }) => systemId) });
  expect([answer.status, answer.headers['content-type']]).toEqual([200, 'application/x-tar']);
  const [manifest, signature, ...blobs] = await entriesOf(answer.body);
  return {
    bytes: manifest![1],
    manifest: BundleManifest.parse(JSON.parse(manifest![1].toString())),
    signature: BundleSignature.parse(JSON.parse(signature![1].toString())),
    blobs,
  };
}

describe('[P-12] a bundle of the cloud', () => {
  test('says what each unit would be told, holds every blob of it once, and nothing of others', async () => {
    const one = await cloud.publish('one', '1.0.0', 'the layer that both have');
    const two = await cloud.publish('two', '1.0.0', 'the layer that both have');
    await cloud.publish('other', '1.0.0');
    await cloud.must('PUT', `${car.path}/deployments/one`, { version: '1.0.0', numInstances: 3 });
    await cloud.must('PUT', `${bus.path}/deployments/two`, { version: '1.0.0' });
    const { manifest, blobs } = await bundleFor(car, bus);
    expect(manifest.units.map(({ systemId }) => systemId)).toEqual([car.systemId, bus.systemId]);
    const { data, refused } = decodeCloudMessage(
      Buffer.from(
        JSON.stringify({
          header: { version: 7, systemId: car.systemId },
          data: { ...manifest.units[0]!.desiredStatus, messageType: 'desiredStatus' },
        }),
      ),
    );
    expect(refused).toEqual([]);
    expect(data).toMatchObject({
      items: [{ item: { id: 'one' }, version: '1.0.0', indexDigest: one.index }],
      instances: [{ item: { id: 'one' }, numInstances: 3 }],
    });
    const digests = [...one.blobs, ...two.blobs].map(({ digest }) => digest);
    expect(manifest.blobs.map(({ digest }) => digest).sort()).toEqual([...new Set(digests)].sort());
    expect(blobs.map(([name]) => name)).toEqual(manifest.blobs.map(({ digest }) => `blobs/${digest.slice(7)}`));
    for (const [index, [, content]] of blobs.entries()) {
      const { size, sha256 } = manifest.blobs[index]!;
      expect([content.length, createHash('sha3-256').update(content).digest('hex')]).toEqual([size, sha256]);
      expect(content.includes('the layer that both have')).toBe(false);
    }
  });

  test('is signed by a key whose certificate says that it may, below the root that units trust', async () => {
    const { bytes, signature } = await bundleFor(car);
    const [signer, issuer] = signature.certificates.map((der) => new X509Certificate(Buffer.from(der, 'base64')));
    expect(verify('sha256', bytes, signer!.publicKey, Buffer.from(signature.value, 'base64'))).toBe(true);
    expect(signer!.keyUsage).toEqual([BUNDLE_SIGNER_USAGE]);
    expect(signer!.verify(issuer!.publicKey)).toBe(true);
    expect(issuer!.verify(new X509Certificate(cloud.root).publicKey)).toBe(true);
  });

  test('nobody else gets such a certificate: a unit that asks for code signing is refused', async () => {
    const { csr } = await makeCsr('thief', ['thief'], 'ec', ['1.3.6.1.5.5.7.3.3']);
    const { request } = await registrationOf('thief');
    const answer = await cloud.ask('POST', '/api/v11/units/provisioning/', { ...request, online_public_csr: csr });
    expect(answer.status).toBe(400);
    expect(answer.body.toString()).toMatch(/asks for code signing/);
  });

  test.each([
    [{ units: [] }, 400, /expected at least one unit/],
    [{}, 400, /units/],
    [{ units: ['nobody'] }, 404, /there is no unit .*nobody/],
  ])('of %j is refused', async (body, status, words) => {
    const answer = await cloud.ask('POST', '/api/bundles', body);
    expect(answer.status).toBe(status);
    expect(answer.body.toString()).toMatch(words);
  });

  test('a fleet owner makes it for own units only, and the audit knows of it', async () => {
    await cloud.must('PUT', `${car.path}/fleet`, { fleet: 'north' });
    await cloud.must('PUT', '/api/users/norther', { role: 'fleetOwner', scope: 'north' });
    const { token } = await cloud.must<{ token: string }>('POST', '/api/users/norther/tokens');
    const ask = ({ systemId }: ScriptedUnit) =>
      fetchHttps(
        `${cloud.endpoints.restUrl}/api/bundles`,
        { method: 'POST', ca: cloud.root, headers: { authorization: `Bearer ${token}` } },
        JSON.stringify({ units: [systemId] }),
      );
    expect((await ask(car)).status).toBe(200);
    expect((await ask(bus)).status).toBe(404);
    const [newest] = await cloud.must<{ user: string; path: string }[]>('GET', '/api/audit?user=norther');
    expect(JSON.stringify(newest)).toContain('/api/bundles');
  });
});
