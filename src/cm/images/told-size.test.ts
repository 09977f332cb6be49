/** What the cloud tells of the size of a blob is good for a reservation, and for nothing else (spec/cloud-protocol.md 8.6). */
import { randomBytes } from 'node:crypto';
import { beforeEach, expect, test } from 'vitest';
import type { Digest } from '../../core/index.ts';
import type { ImageManager } from './image-manager.ts';
import { disk, forever, open, partialFiles, publisher, storedBlobs, trust } from './image-stage-for-tests.ts';

const MIB = 1024 * 1024;
const RESERVE_BYTES = 16 * MIB;
let images: ImageManager;

beforeEach(async () => {
  images = await open();
});

function published() {
  const item = publisher.publish('web', '1', { layers: [randomBytes(300_000)] });
  const layer = item.layers[0]!;
  return { item, layer, size: publisher.blobs.get(layer)!.info.size };
}

const requestsFor = (layer: Digest) => publisher.requests.filter((request) => request.includes(layer.slice(7))).length;

test.each([
  ['a byte smaller', (size: number) => size - 1],
  ['much smaller', () => 1],
  ['a byte larger', (size: number) => size + 1],
  ['much larger', (size: number) => size + MIB],
  ['unknown', () => 0],
])('[CM-40] a blob whose size is told as %s comes all the same, at once', async (_, told) => {
  const { item, layer, size } = published();
  publisher.tell(layer, { size: told(size) });
  await images.download([item], trust, forever);
  expect(images.items()).toMatchObject([{ state: 'pending' }]);
  expect(requestsFor(layer)).toBe(1);
});

test('[CM-40] [CM-51] room is kept for what the server really has, before anything of it is written', async () => {
  const { item, layer } = published();
  publisher.tell(layer, { size: 10 });
  disk.freeBytes = async () => RESERVE_BYTES + 200_000;
  await images.download([item], trust, forever);
  expect(images.items()).toMatchObject([{ state: 'failed', error: { aosCode: 3, message: 'not enough space' } }]);
  expect(await storedBlobs()).not.toContain(layer.slice(7));
  expect(await partialFiles()).toEqual([]);
});

test('[CM-40] [CM-46] from a server that does not tell how much it sends no more is taken than the cloud has told', async () => {
  const { item, layer, size } = published();
  publisher.tell(layer, { size: size - 1 });
  publisher.trouble.set(layer, (response, file) => {
    response.writeHead(200).end(file);
    return true;
  });
  await images.download([item], trust, forever);
  expect(images.items()).toMatchObject([{ state: 'failed', error: { aosCode: 10 } }]);
  expect(requestsFor(layer)).toBe(3);
});

test('[CM-41] a blob of another size than was told goes on where it stopped', async () => {
  const { item, layer, size } = published();
  publisher.tell(layer, { size: 7 });
  let broken = false;
  publisher.trouble.set(layer, (response, file) => {
    if (broken) return false;
    broken = true;
    response.writeHead(200, { 'content-length': file.length, etag: `"${layer.slice(7)}"` });
    response.write(file.subarray(0, size / 2), () => setTimeout(() => response.destroy(), 20));
    return true;
  });
  await images.download([item], trust, forever);
  expect(images.items()).toMatchObject([{ state: 'pending' }]);
  expect(publisher.requests.filter((request) => request.includes(layer.slice(7)))).toEqual([
    expect.not.stringContaining('bytes'),
    expect.stringMatching(/bytes=\d{4,}-$/),
  ]);
});
