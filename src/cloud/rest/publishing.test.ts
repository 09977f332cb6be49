/** Publishing and deploying, over the REST interface. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf } from '../../core/index.ts';
import { fetchHttps } from '../cloud-access-for-tests.ts';
import { eventually, TestCloud } from '../cloud-for-tests.ts';
import { ScriptedUnit } from '../scripted-unit-for-tests.ts';
import type { PublishedItem } from '../store/items.ts';

let cloud: TestCloud;

beforeAll(async () => {
  cloud = await TestCloud.start();
});

afterAll(() => cloud.close());

const files = (of = cloud) => readdir(join(of.directory, 'work', 'blobs'));

describe('blobs', () => {
  test('an upload that is not the content of its digest leaves nothing', async () => {
    const before = await files();
    const digest = digestOf('promised');
    const answer = await cloud.ask('PUT', `/api/blobs/${digest}`, Buffer.from('delivered'));
    expect(answer.status).toBe(400);
    expect(answer.body.toString()).toMatch(digestOf('delivered'));
    expect((await cloud.ask('HEAD', `/api/blobs/${digest}`)).status).toBe(404);
    expect(await files()).toEqual(before);
  });

  test('the same content is stored once, also when it comes twice at once', async () => {
    const content = randomBytes(50_000);
    const before = (await files()).length;
    await Promise.all([cloud.upload(content), cloud.upload(content)]);
    await cloud.upload(content);
    expect((await cloud.ask('HEAD', `/api/blobs/${digestOf(content)}`)).status).toBe(200);
    expect(await files()).toHaveLength(before + 1);
  });

  test('content is never on the disk in plain', async () => {
    const content = Buffer.from(`a secret of the author ${randomBytes(8).toString('hex')}`.repeat(1000));
    await cloud.upload(content);
    for (const name of await files()) {
      const stored = await readFile(join(cloud.directory, 'work', 'blobs', name));
      expect(stored.includes('a secret of the author')).toBe(false);
    }
  });

  test('an upload that breaks off leaves nothing', async () => {
    const before = await files();
    const pki = (name: string) => readFile(join(cloud.directory, 'work', 'pki', name));
    const agent = new Agent({ ca: cloud.root, cert: await pki('operator.pem'), key: await pki('operator-key.pem') });
    const url = `${cloud.endpoints.restUrl}/api/blobs/${digestOf('x')}`;
    const outgoing = request(url, { method: 'PUT', agent, headers: { 'content-length': 1_000_000 } });
    const broken = new Promise((resolve) => outgoing.once('error', resolve));
    outgoing.write(randomBytes(100_000));
    await eventually(async () => (await files()).length).toBeGreaterThan(before.length);
    outgoing.destroy();
    await broken;
    await eventually(files).toEqual(before);
    agent.destroy();
  });

  test('what a killed cloud left is removed by the next start, what it has published stays', async () => {
    const first = await TestCloud.start();
    const content = randomBytes(1000);
    await first.upload(content);
    const kept = await files(first);
    await first.stop();
    const blobs = join(first.directory, 'work', 'blobs');
    await mkdir(blobs, { recursive: true });
    await writeFile(join(blobs, 'half.part'), 'half');
    await writeFile(join(blobs, '00000000-0000-0000-0000-000000000000'), 'not in the database');
    const second = await TestCloud.start({}, first.directory);
    try {
      expect(await files(second)).toEqual(kept);
      expect((await second.ask('HEAD', `/api/blobs/${digestOf(content)}`)).status).toBe(200);
    } finally {
      await second.close();
    }
  });

  test('a large upload streams', async () => {
    const piece = randomBytes(64 * 1024);
    const hash = createHash('sha256');
    for (let index = 0; index < 320; index += 1) hash.update(piece);
    const pki = (name: string) => readFile(join(cloud.directory, 'work', 'pki', name));
    const agent = new Agent({ ca: cloud.root, cert: await pki('operator.pem'), key: await pki('operator-key.pem') });
    const url = `${cloud.endpoints.restUrl}/api/blobs/sha256:${hash.digest('hex')}`;
    const status = await new Promise((resolve, reject) => {
      const outgoing = request(url, { method: 'PUT', agent }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      outgoing.on('error', reject);
      Readable.from(Array<Buffer>(320).fill(piece), { objectMode: false }).pipe(outgoing);
    });
    agent.destroy();
    expect(status).toBe(201);
  });
});

describe('items', () => {
  test('an item that lacks a blob is refused with the name of what is missing', async () => {
    const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: digestOf('missing'), size: 7 };
    const put = (value: unknown) => cloud.upload(JSON.stringify(value));
    const config = await put({ architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [layer.digest] } });
    const aosItemConfig = await put({});
    const manifest = await put({ config, aosItemConfig, layers: [layer] });
    const index = await put({ manifests: [manifest] });
    const answer = await cloud.ask('PUT', '/api/items/incomplete/1.0.0', { indexDigest: index.digest });
    expect(answer.status).toBe(400);
    expect(answer.body.toString()).toMatch(`layer ${layer.digest} was not uploaded`);
    expect(await cloud.must<PublishedItem[]>('GET', '/api/items')).not.toContainEqual(
      expect.objectContaining({ id: 'incomplete' }),
    );
  });

  test.each([
    ['an index without manifest', { manifests: [] }, /names no manifest/],
    ['no index at all', { manifests: 'none' }, /image index: manifests/],
  ])('%s is refused', async (_, document, words) => {
    const { digest } = await cloud.upload(JSON.stringify(document));
    const answer = await cloud.ask('PUT', '/api/items/bad/1.0.0', { indexDigest: digest });
    expect(answer.status).toBe(400);
    expect(answer.body.toString()).toMatch(words);
  });

  test('the same version with the same content is fine, with another content it is refused', async () => {
    const { index } = await cloud.publish('fixed', '1.0.0');
    expect((await cloud.ask('PUT', '/api/items/fixed/1.0.0', { indexDigest: index })).status).toBe(200);
    await expect(cloud.publish('fixed', '1.0.0', 'other')).rejects.toThrow(
      /409.*with another content.*raise the version/,
    );
  });

  test.each(['0.9.0', '1.2.3-rc.1'])('version %s after 1.2.3 is refused: versions rise', async (version) => {
    await cloud.publish(`rises-${version}`, '1.2.3');
    await expect(cloud.publish(`rises-${version}`, version)).rejects.toThrow(/409.*is not higher/);
  });

  test('a version that is none, and an item that changes its type, are refused', async () => {
    await expect(cloud.publish('odd', 'one')).rejects.toThrow(/400.*not a semantic version/);
    await cloud.publish('typed', '1.0.0');
    await expect(cloud.publish('typed', '1.1.0', 'x', 'component')).rejects.toThrow(/409.*cannot be a component/);
  });

  test('a version is removed with the blobs that no other needs, but not while it is deployed', async () => {
    const unit = await ScriptedUnit.register(cloud);
    const shared = randomBytes(100);
    await cloud.publish('leaves', '1.0.0', shared);
    const { layer } = await cloud.publish('leaves', '2.0.0', randomBytes(100));
    await cloud.publish('stays', '1.0.0', shared);
    await cloud.must('PUT', `${unit.path}/deployments/leaves`, { version: '2.0.0' });
    const refusal = await cloud.ask('DELETE', '/api/items/leaves/2.0.0');
    expect([refusal.status, refusal.body.toString()]).toEqual([409, expect.stringMatching(unit.systemId)]);
    await cloud.must('DELETE', `${unit.path}/deployments/leaves`);
    const before = (await files()).length;
    for (const version of ['1.0.0', '2.0.0']) {
      expect((await cloud.ask('DELETE', `/api/items/leaves/${version}`)).status).toBe(204);
    }
    expect((await cloud.ask('HEAD', `/api/blobs/${layer}`)).status).toBe(404);
    expect((await cloud.ask('HEAD', `/api/blobs/${digestOf(shared)}`)).status).toBe(200);
    expect((await files()).length).toBeLessThan(before);
  });

  test('items are listed by id, then version', async () => {
    for (const version of ['1.9.0', '1.10.0']) await cloud.publish('sorted', version);
    const items = await cloud.must<PublishedItem[]>('GET', '/api/items');
    expect(items.filter(({ id }) => id === 'sorted').map(({ version }) => version)).toEqual(['1.9.0', '1.10.0']);
  });
});

describe('deployments', () => {
  test('what a change does not mention stays as it was', async () => {
    const unit = await ScriptedUnit.register(cloud);
    for (const version of ['1.0.0', '2.0.0']) await cloud.publish('kept', version, version);
    const path = `${unit.path}/deployments/kept`;
    expect(await cloud.must('PUT', path, { version: '1.0.0' })).toEqual({
      ...{ itemId: 'kept', version: '1.0.0', subject: 'default', numInstances: 1, priority: 0, labels: [] },
    });
    await cloud.must('PUT', path, { version: '1.0.0', subject: 's', numInstances: 3, priority: 5, labels: ['gpu'] });
    expect(await cloud.must('PUT', path, { version: '2.0.0' })).toEqual({
      ...{ itemId: 'kept', version: '2.0.0', subject: 's', numInstances: 3, priority: 5, labels: ['gpu'] },
      formerVersion: '1.0.0',
    });
    expect(await cloud.must('GET', `${unit.path}/deployments`)).toHaveLength(1);
    expect((await cloud.ask('DELETE', path)).status).toBe(204);
    expect(await cloud.must('GET', `${unit.path}/deployments`)).toEqual([]);
    expect((await cloud.ask('DELETE', path)).status).toBe(404);
  });

  test('[P-06] the number of instances changes without the version, and a way leads back to the former version', async () => {
    const unit = await ScriptedUnit.register(cloud);
    for (const version of ['1.0.0', '2.0.0']) await cloud.publish('back', version, version);
    const path = `${unit.path}/deployments/back`;
    expect((await cloud.ask('PUT', path, { numInstances: 2 })).status).toBe(404);
    await cloud.must('PUT', path, { version: '1.0.0' });
    expect((await cloud.ask('POST', `${path}/rollback`)).status).toBe(409);
    await cloud.must('PUT', path, { version: '2.0.0' });
    expect(await cloud.must('PUT', path, { numInstances: 4 })).toMatchObject({ version: '2.0.0', numInstances: 4 });
    await unit.discover();
    await unit.connect();
    unit.sendStatus({ isDeltaInfo: false });
    await unit.next('desiredStatus');
    expect(await cloud.must('POST', `${path}/rollback`)).toMatchObject({ version: '1.0.0', numInstances: 4 });
    expect((await unit.next('desiredStatus')).data.items).toMatchObject([{ item: { id: 'back' }, version: '1.0.0' }]);
    unit.disconnect();
  });

  test('what was not published cannot be deployed, and the refusal says what could', async () => {
    const unit = await ScriptedUnit.register(cloud);
    await cloud.publish('there', '1.0.0');
    const answer = await cloud.ask('PUT', `${unit.path}/deployments/there`, { version: '3.0.0' });
    expect(answer.status).toBe(404);
    expect(answer.body.toString()).toMatch(/not published in version 3\.0\.0; there is 1\.0\.0/);
  });

  test('deployments of a unit that is offline wait for it, also over a restart of the cloud', async () => {
    const first = await TestCloud.start();
    const unit = await ScriptedUnit.register(first);
    await first.publish('waits', '1.0.0');
    await first.must('PUT', `${unit.path}/deployments/waits`, { version: '1.0.0' });
    await first.stop();
    const second = await TestCloud.start({}, first.directory);
    try {
      Object.assign(unit, { cloud: second });
      await unit.discover();
      await unit.connect();
      unit.sendStatus({ isDeltaInfo: false });
      expect((await unit.next('desiredStatus')).data.items).toMatchObject([{ item: { id: 'waits' } }]);
      unit.disconnect();
    } finally {
      await second.close();
    }
  });

  test('followers of a unit hear of it, and of no other', async () => {
    const unit = await ScriptedUnit.register(cloud);
    const other = await ScriptedUnit.register(cloud);
    await cloud.publish('heard', '1.0.0');
    const pki = (name: string) => readFile(join(cloud.directory, 'work', 'pki', name));
    const agent = new Agent({ ca: cloud.root, cert: await pki('operator.pem'), key: await pki('operator-key.pem') });
    let heard = '';
    const outgoing = request(`${cloud.endpoints.restUrl}${unit.path}/events`, { agent }, (response) => {
      response.setEncoding('utf8').on('data', (text: string) => {
        heard += text;
      });
    });
    outgoing.on('error', () => undefined);
    outgoing.end();
    await eventually(() => heard).toMatch(/^:/);
    await cloud.must('PUT', `${other.path}/deployments/heard`, { version: '1.0.0', subject: 'elsewhere' });
    await cloud.must('PUT', `${unit.path}/deployments/heard`, { version: '1.0.0' });
    await eventually(() => heard).toMatch(/event: deployment\ndata: \{.*"itemId":"heard"/);
    expect(heard.match(/event: deployment/g)).toHaveLength(1);
    outgoing.destroy();
    agent.destroy();
  });
});

describe('downloads', () => {
  test('a blob has one address with a validator; nonsense has none', async () => {
    const unit = await ScriptedUnit.register(cloud);
    const { layer } = await cloud.publish('served', '1.0.0');
    await cloud.must('PUT', `${unit.path}/deployments/served`, { version: '1.0.0' });
    await unit.comeOnline();
    unit.send({ messageType: 'requestBlobUrls', correlationId: 'x', digests: [layer] });
    const { urls, size, sha256 } = (await unit.next('blobUrls')).data.items[0]!;
    const get = (headers: Record<string, string>, method = 'GET', url = urls[0]!) =>
      fetchHttps(url, { ca: cloud.root, agent: false, headers, method });
    const whole = await get({});
    expect(createHash('sha3-256').update(whole.body).digest('hex')).toBe(sha256);
    const etag = String(whole.headers.etag);
    expect((await get({ 'if-none-match': etag })).status).toBe(304);
    expect((await get({ range: 'bytes=5-', 'if-range': '"old"' })).status).toBe(200);
    const beyond = await get({ range: `bytes=${size}-` });
    expect([beyond.status, beyond.headers['content-range']]).toEqual([416, `bytes */${size}`]);
    expect((await get({}, 'POST')).status).toBe(405);
    expect((await get({}, 'GET', `${cloud.endpoints.blobsUrl}/../pki/root-key.pem`)).status).toBe(404);
    unit.disconnect();
  });

  test('units that trust the roots of their system only get plain HTTP when the cloud is set up so', async () => {
    const plain = await TestCloud.start({ plainBlobs: true });
    try {
      expect(plain.endpoints.blobsUrl).toMatch(/^http:\/\/localhost/);
      expect((await fetch(`${plain.endpoints.blobsUrl}/nothing`)).status).toBe(404);
    } finally {
      await plain.close();
    }
  });
});
