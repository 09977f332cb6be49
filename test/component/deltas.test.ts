/** The image manager of a CM against a whole cloud: the second version of a real item, over the real messages and files. */
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TestCloud } from '../../src/cloud/cloud-for-tests.ts';
import { ScriptedUnit } from '../../src/cloud/scripted-unit-for-tests.ts';
import type { AskBlobUrls } from '../../src/cm/images/blob-source.ts';
import { CloudBlobSource } from '../../src/cm/images/blob-source.ts';
import type { DownloadReport } from '../../src/cm/images/download-report.ts';
import type { ImageManager } from '../../src/cm/images/image-manager.ts';
import { openImageDatabase, openTestImages } from '../../src/cm/images/open-images-for-tests.ts';
import { hurriedClock } from '../../src/cm/images/publisher-for-tests.ts';
import { digestOf, silentLogger } from '../../src/core/index.ts';
import { claimedTimeBounds, type SignatureTrust } from '../../src/storage/index.ts';
import { noise } from '../e2e/image.ts';

const forever = new AbortController().signal;
const STORY_MS = 120_000;

let directory: string;
let cloud: TestCloud;
let database: DatabaseSync;
let images: ImageManager;
let unit: ScriptedUnit;
let trust: SignatureTrust;
let reports: DownloadReport[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-deltas-'));
  cloud = await TestCloud.start({}, directory);
  unit = await ScriptedUnit.register(cloud);
  database = await openImageDatabase(directory);
  reports = [];
  const ask: AskBlobUrls = async (question) => {
    unit.send(question);
    for (;;) {
      const { data } = await unit.next('blobUrls');
      if (data.correlationId === question.correlationId) return data;
    }
  };
  images = await openTestImages(directory, {
    source: oneAtATime(new CloudBlobSource(ask, hurriedClock(), silentLogger, () => true)),
    ...{ database, trust: () => trust, caPem: [cloud.root] },
    onDownload: (report) => reports.push(report),
  });
});

afterEach(async () => {
  await images.stop();
  await cloud.stop();
  database.close();
  await rm(directory, { recursive: true, force: true });
});

/** The scripted unit has one ear: who asks next waits for the answer before. */
function oneAtATime(source: CloudBlobSource): Pick<CloudBlobSource, 'locate'> {
  let former: Promise<unknown> = Promise.resolve();
  return {
    locate: (...question) => {
      const answer = former.then(() => source.locate(...question));
      former = answer.catch(() => undefined);
      return answer;
    },
  };
}

/** Publishes and deploys a version, and learns from the desired status whom to believe. */
async function deployed(version: string, content: Buffer) {
  const item = await cloud.publish('web', version, content);
  await cloud.must('PUT', `${unit.path}/deployments/web`, { version });
  return { ...item, wanted: { itemId: 'web', version, type: 'service', indexDigest: item.index } as const };
}

async function learnTrust(): Promise<void> {
  await unit.discover();
  await unit.connect();
  unit.sendStatus({ isDeltaInfo: false, nodes: [], items: [], instances: [], subjects: [] });
  const { data } = await unit.next('desiredStatus');
  trust = {
    certificates: (data.certificates ?? []).map(({ fingerprint, certificate }) => ({
      ...{ fingerprint, der: Buffer.from(certificate, 'base64') },
    })),
    chains: data.certificateChains ?? [],
    roots: [new X509Certificate(cloud.root)],
    claimedTime: claimedTimeBounds(new Date()),
  };
}

/** Bytes that came for a blob, by what was told of it. */
const bytesFor = (digest: string) =>
  reports
    .filter((report) => report.digest === digest && report.state === 'finished')
    .reduce((sum, { downloadedBytes }) => sum + downloadedBytes, 0);

test(
  '[P-21] [CM-48] the second version of an item comes as what is new of it, and has the digest and the signature of the whole',
  async () => {
    const content = noise(3_000_000, 5);
    const first = await deployed('1.0.0', content);
    await learnTrust();
    await images.download([first.wanted], trust, forever);
    await images.install([first.wanted], () => false, forever);
    expect(bytesFor(first.layer)).toBeGreaterThan(content.length - 16);

    // A machine that has too much to do makes a delta too late for the one that asks first; then the next version shows it.
    for (let version = 2; ; version += 1) {
      noise(30_000, 100 + version).copy(content, 1_000_000);
      const next = await deployed(`${version}.0.0`, content);
      await images.download([next.wanted], trust, forever);
      await images.install([next.wanted], () => false, forever);
      expect(images.currentVersion('web')).toBe(`${version}.0.0`);
      expect(digestOf(await readFile(await images.blobPath(next.layer)))).toBe(next.layer);
      const came = bytesFor(next.layer);
      if (came > content.length && version < 8) continue;
      expect(came).toBeLessThan(40_000);
      return;
    }
  },
  STORY_MS,
);
