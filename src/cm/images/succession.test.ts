/** One download after the other: what is left of the former one never gets in the way of the next. */
import { rm } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { beforeEach, expect, test, vi } from 'vitest';
import type { ImageManager } from './image-manager.ts';
import { blobFile, forever, open, partialFiles, publisher } from './image-stage-for-tests.ts';

let images: ImageManager;

beforeEach(async () => {
  images = await open();
});

const states = () => images.items().map(({ itemId, state }) => `${itemId} ${state}`);

/** Takes requests and never answers. */
const silence = (_: ServerResponse) => true;

test('[CM-23] a download that begins while the former one is still being given up is not given up with it', async () => {
  const layers = Array.from({ length: 12 }, (_, index) => Buffer.from(`layer ${index}`));
  const items = [publisher.publish('web', '1', { layers }), publisher.publish('other', '1')];
  const mute = (digest: string) => publisher.trouble.set(digest, silence);
  for (const digest of items[0]!.layers) mute(digest);
  for (let round = 0; round < 5; round += 1) {
    const former = new AbortController();
    const given = images.download(items, publisher.trust, former.signal);
    const ended = expect(given).rejects.toMatchObject({ code: 'canceled' });
    await vi.waitFor(() => expect(publisher.requests.length).toBeGreaterThan(0));
    publisher.requests.length = 0;
    former.abort();
    await ended;
  }
  publisher.trouble.clear();
  await images.download(items, publisher.trust, forever);
  expect(states()).toEqual(['web pending', 'other pending']);
});

test('[CM-24] what is on its way for an item that has failed ends with the download, and is clean', async () => {
  const bad = publisher.publish('bad', '1', { layers: [Buffer.from('wrong'), Buffer.from('never comes')] });
  const good = publisher.publish('good', '1');
  const [wrong, never] = bad.layers;
  publisher.tell(wrong!, { sha256: 'f'.repeat(64) });
  publisher.trouble.set(never!, silence);
  await images.download([bad, good], publisher.trust, forever);
  expect(states()).toEqual(['bad failed', 'good pending']);
  publisher.requests.length = 0;
  publisher.trouble.clear();
  await images.download([good], publisher.trust, forever);
  expect(publisher.requests).toEqual([]);
  expect(await partialFiles()).toEqual([]);
});

test('a look at all blobs that a desired status interrupts does not end the download that comes then', async () => {
  const item = publisher.publish('web', '1');
  await images.download([item], publisher.trust, forever);
  await images.install([item], () => true, forever);
  await rm(blobFile(item.layers[0]!));
  publisher.trouble.set(item.layers[0]!, silence);
  publisher.requests.length = 0;
  const look = expect(images.verifyAll(publisher.trust, forever)).rejects.toMatchObject({ code: 'canceled' });
  await vi.waitFor(() => expect(publisher.requests.length).toBeGreaterThan(0));
  publisher.trouble.clear();
  await images.download([item], publisher.trust, forever);
  await look;
  expect(states()).toEqual(['web installed']);
});
