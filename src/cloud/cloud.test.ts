/** The whole path of a unit at a real cloud: from registration to verified blobs. */
import { randomBytes, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BlobUrls, DesiredStatus } from '../protocol/index.ts';
import { arrive } from '../storage/arrive-for-tests.ts';
import { BlobStore, checkSignature, DecryptingIntake, installDecrypted, parseChecksum } from '../storage/index.ts';
import { fetchHttps } from './cloud-access-for-tests.ts';
import { TestCloud } from './cloud-for-tests.ts';
import { ScriptedUnit } from './scripted-unit-for-tests.ts';

let cloud: TestCloud;
let directory: string;

beforeAll(async () => {
  cloud = await TestCloud.start();
  directory = await mkdtemp(join(tmpdir(), 'aos-cloud-unit-'));
});

afterAll(async () => {
  await cloud.close();
  await rm(directory, { recursive: true, force: true });
});

async function askBlobs(unit: ScriptedUnit, digests: readonly string[]): Promise<BlobUrls> {
  unit.send({ messageType: 'requestBlobUrls', correlationId: 'asked', digests: [...digests] });
  const { data } = await unit.next('blobUrls');
  expect(data.correlationId).toBe('asked');
  return data;
}

const download = (url: string, headers: Record<string, string> = {}, method = 'GET') =>
  fetchHttps(url, { ca: cloud.root, agent: false, headers, method });

/** Downloads and installs as a CM does, in trust of the desired status alone. */
async function install(blob: BlobUrls['items'][number], desired: DesiredStatus, content: Buffer): Promise<Buffer> {
  const file = join(directory, `download-${blob.sha256}`);
  const store = await BlobStore.open(join(directory, 'store'));
  const bytes = (text: string) => Buffer.from(text, 'base64');
  const { decryptInfo, signInfo } = blob;
  const info = {
    chainName: signInfo!.chainName,
    alg: signInfo!.alg,
    value: bytes(signInfo!.value),
    trustedTimestamp: new Date(signInfo!.trustedTimestamp),
  };
  const trust = {
    certificates: desired.certificates!.map(({ fingerprint, certificate }) => ({
      fingerprint,
      der: bytes(certificate),
    })),
    chains: desired.certificateChains!,
    roots: [new X509Certificate(cloud.root)],
    claimedTime: {},
  };
  const { blockAlg, blockIv, blockKey } = decryptInfo!;
  const intake = new DecryptingIntake({
    decryptInfo: { blockAlg, blockIv: bytes(blockIv), blockKey: bytes(blockKey) },
    sizeBytes: blob.size,
    checksum: parseChecksum(blob.sha256),
    beginSignature: () => checkSignature(info, trust),
  });
  await arrive(file, intake, content);
  const { signal } = new AbortController();
  const outcome = await installDecrypted({ store, digest: blob.digest, downloadedFile: file, signal }, intake);
  expect(outcome).toEqual({ stored: true });
  return readFile(store.path(blob.digest));
}

describe('a unit and its cloud', () => {
  test('a deployed item reaches the unit: desired status, addresses, ranges, decryption, signature', async () => {
    const unit = await ScriptedUnit.register(cloud);
    const content = randomBytes(300_000);
    const { index, layer } = await cloud.publish('story', '1.0.0', content);
    await unit.discover();
    await unit.connect();
    const txn = unit.sendStatus({ isDeltaInfo: false, nodes: [], items: [], instances: [], subjects: [] });
    await unit.acked(txn);
    expect((await unit.next('desiredStatus')).data).toMatchObject({ items: [], instances: [], subjects: [] });

    await cloud.must('PUT', `${unit.path}/deployments/story`, { version: '1.0.0', numInstances: 2, labels: ['a'] });
    const { data: desired } = await unit.next('desiredStatus');
    expect(desired.items).toEqual([
      { item: { id: 'story', type: 'service' }, version: '1.0.0', owner: { id: 'default' }, indexDigest: index },
    ]);
    expect(desired.instances).toEqual([
      { item: { id: 'story' }, subject: { id: 'default' }, priority: 0, numInstances: 2, labels: ['a'] },
    ]);
    expect(desired.subjects).toEqual([{ identity: { id: 'default' }, type: 'group', isReportedFromUnit: false }]);

    const { items } = await askBlobs(unit, [layer]);
    expect(items).toHaveLength(1);
    const blob = items[0]!;
    const url = blob.urls[0]!;
    const head = await download(url, {}, 'HEAD');
    expect(head.headers).toMatchObject({ 'accept-ranges': 'bytes', 'content-length': String(blob.size) });
    const first = await download(url, { range: 'bytes=0-99999' });
    const rest = await download(url, { range: 'bytes=100000-', 'if-range': String(head.headers.etag) });
    expect([first.status, rest.status]).toEqual([206, 206]);
    const encrypted = Buffer.concat([first.body, rest.body]);
    expect(encrypted.includes(content.subarray(0, 64))).toBe(false);
    expect(await install(blob, desired, encrypted)).toEqual(content);
    unit.disconnect();
  });

  test('the cloud shows what the unit reports: a full status, then what changed', async () => {
    const unit = await ScriptedUnit.register(cloud);
    expect(await cloud.must('GET', unit.path)).toMatchObject({ systemId: unit.systemId, online: false });
    await unit.comeOnline({
      items: [{ item: { id: 'x', type: 'service' }, version: '1.0.0', state: 'downloading' }],
    });
    await unit.acked(
      unit.sendStatus({ items: [{ item: { id: 'x', type: 'service' }, version: '1.0.0', state: 'installed' }] }),
    );
    expect(await cloud.must('GET', unit.path)).toMatchObject({
      online: true,
      items: [{ item: { id: 'x' }, state: 'installed' }],
      nodes: [],
    });
    unit.disconnect();
  });
});
