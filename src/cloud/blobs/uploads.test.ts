/** Uploads end where their bounds are, and leave nothing then. */
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { digestOf, silentLogger } from '../../core/index.ts';
import { fetchHttps, type HttpAnswer } from '../cloud-access-for-tests.ts';
import { eventually, TestCloud } from '../cloud-for-tests.ts';
import { openCloudDatabase } from '../store/cloud-database.ts';
import { excessOf, Uploads, type UploadsParts } from './uploads.ts';

const STORE_LIMITS = {
  ...{ messages: 100, alerts: 100, samples: { maxAgeMs: 1000, maxCount: 100 } },
  logs: { maxAgeMs: 1000, maxBytes: 1000 },
};
const LIMITS = { blobBytes: 100, providerBytes: 250 };

test.each([
  ['a blob that is as large as one may be', { bytes: 100, provider: '', otherBytes: 0 }, undefined],
  ['a larger one', { bytes: 101, provider: '', otherBytes: 0 }, /at least 101 bytes, 100 are allowed \(blobLimitBytes/],
  ['all that a service provider may have', { bytes: 50, provider: 'acme', otherBytes: 200 }, undefined],
  ['more than that', { bytes: 51, provider: 'acme', otherBytes: 200 }, /"acme" has at least 251 bytes here, 250 are/],
  ['as much of an OEM', { bytes: 51, provider: '', otherBytes: 200 }, undefined],
])('%s', (_, growth, words) => {
  const excess = excessOf(growth, LIMITS);
  if (words === undefined) expect(excess).toBeUndefined();
  else expect(excess).toMatch(words);
});

const TOO_MUCH = /"acme" has at least \d+ bytes here, 300000 are allowed \(providerLimitBytes/;

test('where there is no room, what a service provider has uploaded a day ago and made no item of goes first', async () => {
  const database = await openCloudDatabase(':memory:', STORE_LIMITS, silentLogger);
  let time = Date.parse('2026-01-01T00:00:00Z');
  const removed: string[] = [];
  const vault: UploadsParts['vault'] = {
    put: async (digest, source, provider, mustFit) => {
      const sizeBytes = (await Readable.from(source).toArray()).reduce((sum, { length }) => sum + length, 0);
      const none = new Uint8Array();
      const blob = {
        ...{ digest, provider, sizeBytes, file: `file of ${digest}`, fileBytes: sizeBytes, fileSha3: '' },
        ...{ key: none, iv: none, signature: none, chainName: '', signedAt: new Date(time).toISOString() },
      };
      await database.write(async ({ items }) => {
        await items.addBlob(blob);
        await mustFit(items);
      });
    },
    remove: async (names) => void removed.push(...names),
  };
  const uploads = new Uploads({ database, vault, limits: LIMITS, now: () => new Date(time) });
  const take = (digest: string, provider: string, bytes: number) =>
    uploads.take({ digest, provider, declaredBytes: bytes, source: Readable.from([Buffer.alloc(bytes)]) });
  await take('old', 'acme', 100);
  await take('of another', 'other', 100);
  time += 86_400_000;
  await take('new', 'acme', 100);
  await expect(take('newer', 'acme', 100)).rejects.toThrow(/"acme" has at least 300 bytes here/);
  expect(removed).toEqual([]);
  time += 1;
  await take('newer', 'acme', 100);
  expect(removed).toEqual(['file of old']);
  await database.stop();
});

describe('a cloud with little room', () => {
  let cloud: TestCloud;
  let agent: Agent;
  let token: string;
  let before: string[];

  const files = () => readdir(join(cloud.directory, 'work', 'blobs'));

  /** As service provider, unless as OEM. */
  const put = (content: Buffer) =>
    fetchHttps(
      `${cloud.endpoints.restUrl}/api/blobs/${digestOf(content)}`,
      { method: 'PUT', agent, headers: { authorization: `Bearer ${token}`, 'content-length': content.length } },
      content,
    );

  /** Sends a blob whose size is not said before, for as long as somebody reads it. */
  const stream = (pieces: Iterable<Buffer>) =>
    new Promise<HttpAnswer>((resolve, reject) => {
      const url = `${cloud.endpoints.restUrl}/api/blobs/${digestOf('never complete')}`;
      const headers = { authorization: `Bearer ${token}` };
      const outgoing = request(url, { method: 'PUT', agent, headers }, async (response) => {
        const body = Buffer.concat(await response.toArray());
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
      });
      outgoing.on('error', reject);
      Readable.from(pieces, { objectMode: false }).pipe(outgoing);
    });

  /** Blobs go with the last item that has them. */
  const forget = async (content: Buffer) => {
    await cloud.publish('forgotten', '1.0.0', content);
    await cloud.must('DELETE', '/api/items/forgotten/1.0.0');
  };

  beforeAll(async () => {
    cloud = await TestCloud.start({ blobLimitBytes: 200_000, providerLimitBytes: 300_000 });
    agent = new Agent({ ca: cloud.root });
    await cloud.must('PUT', '/api/users/anna', { role: 'serviceProvider', scope: 'acme' });
    ({ token } = await cloud.must<{ token: string }>('POST', '/api/users/anna/tokens'));
  });

  beforeEach(async () => {
    before = await files();
  });

  afterEach(() => eventually(files).toEqual(before));

  afterAll(async () => {
    agent.destroy();
    await cloud.close();
  });

  test('a blob that says that it is too large is refused before it comes, also that of an OEM', async () => {
    const content = randomBytes(200_001);
    const answer = await put(content);
    expect([answer.status, answer.headers['content-type']]).toEqual([413, 'application/problem+json']);
    expect(answer.body.toString()).toMatch(/at least 200001 bytes, 200000 are allowed/);
    expect((await cloud.ask('PUT', `/api/blobs/${digestOf(content)}`, content)).status).toBe(413);
  });

  test('a blob that does not say its size is refused as soon as it is too large', async () => {
    const answer = await stream(Array<Buffer>(2000).fill(randomBytes(64 * 1024)));
    expect([answer.status, answer.body.toString()]).toEqual([413, expect.stringMatching(/200000 are allowed/)]);
  });

  test('a service provider has so much at the cloud and no more; items that are deleted make room', async () => {
    const content = randomBytes(150_000);
    const more = randomBytes(150_001);
    const isRefused = async () => {
      const { status, body } = await put(more);
      expect([status, JSON.parse(body.toString())]).toMatchObject([413, { detail: expect.stringMatching(TOO_MUCH) }]);
    };
    expect((await put(content)).status).toBe(201);
    await isRefused();
    const { index } = await cloud.publish('of-the-oem', '1.0.0', content);
    await cloud.must('PUT', '/api/items/of-acme/1.0.0', { owner: 'acme', indexDigest: index });
    await cloud.must('DELETE', '/api/items/of-the-oem/1.0.0');
    await isRefused();
    // An OEM takes what it needs.
    await cloud.publish('of-the-oem', '2.0.0', more);
    await cloud.must('DELETE', '/api/items/of-the-oem/2.0.0');
    await cloud.must('DELETE', '/api/items/of-acme/1.0.0');
    expect((await put(more)).status).toBe(201);
    await forget(more);
  });

  test('uploads of one service provider at the same time do not get past the bound together', async () => {
    const contents = [randomBytes(140_000), randomBytes(140_000), randomBytes(140_000)];
    const answers = await Promise.all(contents.map((content) => put(content)));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 413).length).toBeGreaterThanOrEqual(1);
    for (const [index, content] of contents.entries()) if (statuses[index] === 201) await forget(content);
  });
});
