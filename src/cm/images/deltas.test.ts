/** Layers that come as deltas (docs/decisions/0025-deltas.md). */
import { createHash, randomBytes } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { type Digest, digestOf, silentLogger } from '../../core/index.ts';
import { BlobInfo, type RequestBlobUrls } from '../../protocol/index.ts';
import { deltaFor, segmentFor } from '../../storage/delta-for-tests.ts';
import { CloudBlobSource } from './blob-source.ts';
import type { ImageManager } from './image-manager.ts';
import {
  blobFile,
  clock,
  disk,
  forever,
  GIB,
  notUsed,
  open,
  partialFiles,
  publisher,
  reports,
  storedBlobs,
  trust,
} from './image-stage-for-tests.ts';

let images: ImageManager;

const old = randomBytes(300_000);
const content = Buffer.concat([old.subarray(0, 200_000), Buffer.from('a few new words'), old.subarray(200_000)]);
const hexOf = (digest: Digest) => digest.slice('sha256:'.length);
const stateOf = (version: string) => images.items().find((item) => item.version === version);

/** Version 1 is on the unit; version 2 has a layer that is much like that of version 1. */
async function twoVersions() {
  const first = publisher.publish('web', '1', { layers: [old] });
  await images.download([first], trust, forever);
  await images.install([first], notUsed, forever);
  const second = publisher.publish('web', '2', { layers: [content] });
  publisher.requests.length = 0;
  publisher.basesFor.clear();
  return { from: first.layers[0]!, layer: second.layers[0]!, second };
}

type Delta = NonNullable<BlobInfo['deltas']>[number];

/** Offers a delta beside a layer; answers the digest under which the file is asked for. */
function offer(layer: Digest, from: Digest, delta: Buffer, change: Partial<Delta> = {}): Digest {
  const file = publisher.put(delta);
  const { sha256, size, decryptInfo } = publisher.blobs.get(file)!.info;
  const urls = [publisher.urlOf(file)];
  const facts = { base: from, format: 'zstd-segments', contentSize: content.length, urls, sha256, size, decryptInfo };
  publisher.tell(layer, { deltas: [{ ...facts, ...change }] });
  return file;
}

const fetched = (digest: Digest) => publisher.requests.filter((request) => request.includes(hexOf(digest))).length;

/** Version 2 is there and whole, and nothing is left of how it came. */
async function expectInstalled(layer: Digest): Promise<void> {
  expect(stateOf('2')).toMatchObject({ state: 'pending' });
  expect(digestOf(await readFile(blobFile(layer)))).toBe(layer);
  expect(await partialFiles()).toEqual([]);
}

beforeEach(async () => {
  images = await open();
});

describe('[P-21] a layer that is much like one on the unit', () => {
  test('is made of it and a delta; nothing else of it goes over the wire', async () => {
    const { from, layer, second } = await twoVersions();
    const delta = offer(layer, from, deltaFor(old, content));
    await images.download([second], trust, forever);
    await expectInstalled(layer);
    expect(publisher.basesFor.get(layer)).toEqual([from]);
    expect([fetched(delta), fetched(layer)]).toEqual([1, 0]);
    const told = reports.filter(({ digest }) => digest === layer);
    expect(told.map(({ state }) => state)).toEqual(['started', 'finished']);
    expect(told[1]!.downloadedBytes).toBeLessThan(content.length / 100);
  });

  test('may come as a delta that is not encrypted', async () => {
    const { from, layer, second } = await twoVersions();
    const delta = deltaFor(old, content);
    const file = offer(layer, from, delta, {
      sha256: createHash('sha3-256').update(delta).digest('hex'),
      size: delta.length,
      decryptInfo: undefined,
    });
    publisher.trouble.set(file, (response) => {
      response.writeHead(200, { 'content-length': delta.length }).end(delta);
      return true;
    });
    await images.download([second], trust, forever);
    await expectInstalled(layer);
    expect(fetched(layer)).toBe(0);
  });

  test('goes on with the delta where a broken connection has stopped it', async () => {
    const { from, layer, second } = await twoVersions();
    const file = offer(layer, from, deltaFor(old, Buffer.concat([content, randomBytes(100_000)])), {
      contentSize: content.length + 100_000,
    });
    // Not the wanted content, so it is fetched whole at the end: what counts here is how the delta came.
    let broken = false;
    // Every piece is worth a report when half a minute lies between them.
    let nowMs = 0;
    clock.monotonicMs = () => {
      nowMs += 31_000;
      return nowMs;
    };
    publisher.trouble.set(file, (response, bytes) => {
      if (broken) return false;
      broken = true;
      response.writeHead(200, { 'content-length': bytes.length, etag: '"x"' });
      response.write(bytes.subarray(0, 50_000));
      // Not before the other side has what was sent: a connection that breaks takes along what waits in it.
      void vi
        .waitFor(() => expect(reports.some(({ downloadedBytes }) => downloadedBytes === 50_000)).toBe(true), 10_000)
        .finally(() => response.destroy());
      return true;
    });
    publisher.tell(layer, { size: content.length + 200_000 });
    await images.download([second], trust, forever);
    await expectInstalled(layer);
    expect(publisher.requests.filter((request) => request.includes(hexOf(file)))).toEqual([
      `GET ${hexOf(file)}`,
      expect.stringMatching(/bytes=\d{4,}-$/),
    ]);
  });

  test('is made of what is in the same place, for the same platform, and at most four are named', async () => {
    const layers = Array.from({ length: 7 }, (_, index) => randomBytes(100 + index));
    const first = publisher.publish('many', '1', { layers });
    const other = publisher.publish('other', '1', { layers: [randomBytes(50)] });
    await images.download([first, other], trust, forever);
    const changed = [...layers.slice(0, 5), randomBytes(60), ...layers.slice(5, 7)];
    const second = publisher.publish('many', '2', { layers: changed });
    const foreign = publisher.publish('many', '3', { layers: [randomBytes(60)], architecture: 'arm64' });
    await images.download([first, second], trust, forever);
    await images.download([first, foreign], trust, forever);
    expect(publisher.basesFor.get(second.layers[5]!)).toEqual([5, 4, 0, 1].map((index) => first.layers[index]));
    expect(publisher.basesFor.get(foreign.layers[0]!)).toEqual([]);
  });
});

describe('[P-21] [X-14] a delta that is of no use costs nothing but itself: the layer is fetched whole when', () => {
  const flipped = Buffer.from(deltaFor(old, content));
  flipped[flipped.length - 20]! ^= 1;
  const bomb = segmentFor(old, Buffer.alloc(500_000), { plainBytes: 1000 });

  test.each<[string, Buffer, Partial<Delta>?]>([
    ['it was made of another layer', deltaFor(randomBytes(old.length), content)],
    ['it is truncated', deltaFor(old, content).subarray(0, -3)],
    ['it is damaged', flipped],
    ['it is something else', randomBytes(5000)],
    ['it is empty', Buffer.alloc(0)],
    ['it makes something else', deltaFor(old, old), { contentSize: old.length }],
    ['it makes more than was told', deltaFor(old, content), { contentSize: content.length - 1 }],
    ['it makes less than was told', deltaFor(old, content), { contentSize: content.length + 1 }],
    ['it is a bomb', bomb],
    ['its checksum is wrong', deltaFor(old, content), { sha256: 'ab'.repeat(32) }],
    ['its size is wrong', deltaFor(old, content), { size: 77 }],
    ['its key is wrong', deltaFor(old, content), { decryptInfo: keyOf(randomBytes(32)) }],
    ['its key is none', deltaFor(old, content), { decryptInfo: keyOf(randomBytes(3)) }],
    ['its address is none', deltaFor(old, content), { urls: ['ftp://nowhere'] }],
    ['it is not there', deltaFor(old, content), { urls: ['http://127.0.0.1:1/nothing'] }],
  ])('%s', async (_, delta, change) => {
    const { from, layer, second } = await twoVersions();
    offer(layer, from, delta, change);
    await images.download([second], trust, forever);
    await expectInstalled(layer);
    expect(fetched(layer)).toBe(1);
  });

  test.each<[string, Partial<Delta>]>([
    ['its format is unknown', { format: 'vcdiff' }],
    ['it begins with a blob that is not there', { base: digestOf('nothing') }],
    ['it is larger than the layer', { size: 10 * content.length }],
    ['it makes more than the whole layer has', { contentSize: 10 * GIB }],
  ])('%s, and it is not even asked for', async (_, change) => {
    const { from, layer, second } = await twoVersions();
    const delta = offer(layer, from, deltaFor(old, content), change);
    await images.download([second], trust, forever);
    await expectInstalled(layer);
    expect([fetched(delta), fetched(layer)]).toEqual([0, 1]);
  });

  test('the layer that it begins with is damaged', async () => {
    const { from, layer, second } = await twoVersions();
    const delta = offer(layer, from, deltaFor(old, content));
    await images.stop();
    await writeFile(`${blobFile(from)}.new`, randomBytes(old.length));
    await rename(`${blobFile(from)}.new`, blobFile(from));
    images = await open();
    await images.download([second], trust, forever);
    await expectInstalled(layer);
    expect([fetched(delta), fetched(layer)]).toEqual([0, 1]);
  });

  test('there is room for one of both only', async () => {
    const { from, layer, second } = await twoVersions();
    offer(layer, from, deltaFor(old, content));
    const { size } = publisher.blobs.get(layer)!.info;
    disk.freeBytes = async () => 16 * 1024 * 1024 + size;
    await images.download([second], trust, forever);
    await expectInstalled(layer);
    expect(fetched(layer)).toBe(1);
  });
});

test('[P-21] [CM-45] what a delta makes must bear the signature of the layer', async () => {
  const { from, layer, second } = await twoVersions();
  offer(layer, from, deltaFor(old, content));
  const { signInfo } = publisher.blobs.get(from)!.info;
  publisher.tell(layer, { signInfo: signInfo! });
  await images.download([second], trust, forever);
  expect(stateOf('2')).toMatchObject({ state: 'failed', error: { aosCode: 10 } });
  expect(await storedBlobs()).not.toContain(hexOf(layer));
});

test('[P-21] an update that is given up while a delta comes leaves nothing but what it can go on with', async () => {
  const { from, layer, second } = await twoVersions();
  const file = offer(layer, from, deltaFor(old, content));
  const stop = new AbortController();
  publisher.trouble.set(file, (response, bytes) => {
    response.writeHead(200, { 'content-length': bytes.length });
    response.write(bytes.subarray(0, 10), () => stop.abort());
    return true;
  });
  await expect(images.download([second], trust, stop.signal)).rejects.toMatchObject({ code: 'canceled' });
  publisher.trouble.clear();
  await images.download([second], trust, forever);
  await expectInstalled(layer);
  await images.download([], trust, forever);
  expect(await partialFiles()).toEqual([]);
});

describe('[P-21] on the wire', () => {
  const digest = digestOf('wanted');
  const base = digestOf('old');
  const asked = async (offersDeltas: boolean, bases: readonly Digest[]) => {
    const questions: RequestBlobUrls[] = [];
    const ask = async (question: RequestBlobUrls) => {
      questions.push(question);
      const items = [{ digest, urls: ['http://x/'], sha256: 'ab'.repeat(32), size: 1 }];
      return { messageType: 'blobUrls', correlationId: question.correlationId, items } as const;
    };
    await new CloudBlobSource(ask, clock, silentLogger, () => offersDeltas).locate(digest, forever, bases);
    return questions[0]!;
  };

  test('only a cloud that offers deltas is told what is on the unit', async () => {
    expect(await asked(true, [base])).toMatchObject({ digests: [digest], bases: [base] });
    expect(await asked(false, [base])).not.toHaveProperty('bases');
    expect(await asked(true, [])).not.toHaveProperty('bases');
  });

  test('deltas that cannot be read are passed over, and their blob is not', () => {
    const blob = { digest, urls: ['http://x/'], sha256: 'ab'.repeat(32), size: 1 };
    const delta = { ...blob, base, format: 'zstd-segments', contentSize: 5 };
    expect(BlobInfo.parse({ ...blob, deltas: [delta, { ...delta, base: 7 }, 'x'] }).deltas).toMatchObject([{ base }]);
    for (const deltas of [7, 'x', {}, [[]]]) expect(BlobInfo.parse({ ...blob, deltas }).deltas).toEqual([]);
    expect(BlobInfo.parse(blob)).not.toHaveProperty('deltas');
  });
});

function keyOf(key: Buffer): NonNullable<Delta['decryptInfo']> {
  return { blockAlg: 'AES256/CBC', blockIv: randomBytes(16).toString('base64'), blockKey: key.toString('base64') };
}
