import { readFile } from 'node:fs/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import type { ImageManager } from './image-manager.ts';
import {
  clock,
  database,
  forever,
  notUsed,
  open,
  publisher,
  reports,
  statesOf,
  storedBlobs,
  trust,
} from './image-stage-for-tests.ts';

let images: ImageManager;

beforeEach(async () => {
  images = await open();
});

describe('fetching', () => {
  test('[CM-48] [CM-44] an item is walked from its index to its layers, decrypted', async () => {
    const item = publisher.publish('web', '1', { layers: [Buffer.from('one'), Buffer.from('two')] });
    await images.download([item], trust, forever);
    expect(images.items()).toMatchObject([{ itemId: 'web', version: '1', state: 'pending' }]);
    expect(await readFile(await images.blobPath(item.layers[1]!), 'utf8')).toBe('two');
    const { manifests } = await images.readItem('web', '1');
    expect(manifests).toMatchObject([{ imageConfig: { architecture: 'amd64' }, itemConfig: { author: 'web' } }]);
    expect(publisher.asked[0]).toBe(item.indexDigest);
    expect(publisher.asked).toHaveLength(6);
  });

  test('[CM-28] [CM-21] its states are told as they are stored: downloading, pending, installed', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    await images.install([item], notUsed, forever);
    expect(statesOf('web')).toEqual(['downloading', 'pending', 'installed']);
  });

  test('[CM-48] layers for a platform that no node has are left out where the unit wants that, at the start and at the end', async () => {
    images = await open(publisher, { wantsPlatform: ({ architecture }) => architecture === 'arm64' });
    const [foreign, own] = [
      publisher.publish('foreign', '1'),
      publisher.publish('own', '1', { architecture: 'arm64' }),
    ];
    await images.download([foreign, own], trust, forever);
    await images.install([foreign, own], notUsed, forever);
    expect(images.items().map(({ state }) => state)).toEqual(['installed', 'installed']);
    expect(publisher.asked).not.toContain(foreign.layers[0]);
    expect(publisher.asked).toContain(own.layers[0]);
  });

  test('[CM-47] what two items share is fetched once and kept once', async () => {
    const layers = [Buffer.from('shared layer')];
    const items = [publisher.publish('a', '1', { layers }), publisher.publish('b', '1', { layers })];
    await images.download(items, trust, forever);
    expect(publisher.asked.filter((digest) => digest === items[0]!.layers[0])).toHaveLength(1);
    expect(images.items().map(({ state }) => state)).toEqual(['pending', 'pending']);
  });

  test('[CM-20] what is there and whole is not asked for again', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    publisher.asked.length = 0;
    await images.download([item], trust, forever);
    expect(publisher.asked).toEqual([]);
  });

  test('[CM-43] progress is told: started and finished', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    const states = reports.filter(({ digest }) => digest === item.layers[0]).map(({ state }) => state);
    expect(states).toEqual(['started', 'finished']);
  });
});

describe('what cannot be believed', () => {
  test('[CM-45] [CM-27] [X-14] a signature of an unknown chain fails the item and leaves the others', async () => {
    const [bad, good] = [publisher.publish('bad', '1'), publisher.publish('good', '1')];
    const { signInfo } = publisher.blobs.get(bad.layers[0]!)!.info;
    publisher.tell(bad.layers[0]!, { signInfo: { ...signInfo!, chainName: 'strangers' } });
    await images.download([bad, good], trust, forever);
    expect(images.items()).toMatchObject([
      { itemId: 'bad', state: 'failed', error: { aosCode: 5 } },
      { itemId: 'good', state: 'pending' },
    ]);
    expect(await storedBlobs()).not.toContain(bad.layers[0]!.slice(7));
  });

  test('[CM-46] [X-14] content that is not that of the digest fails the item', async () => {
    const item = publisher.publish('web', '1');
    const evil = publisher.put(Buffer.from('something else'));
    const { file: _, ...stolen } = publisher.blobs.get(evil)!;
    publisher.blobs.set(item.layers[0]!, {
      ...publisher.blobs.get(evil)!,
      info: { ...stolen.info, digest: item.layers[0]! },
    });
    await images.download([item], trust, forever);
    expect(images.items()).toMatchObject([{ state: 'failed', error: { aosCode: 10 } }]);
    expect(await storedBlobs()).not.toContain(item.layers[0]!.slice(7));
  });

  test('[CM-46] a file that never matches its checksum fails the item after three downloads', async () => {
    const item = publisher.publish('web', '1');
    publisher.tell(item.layers[0]!, { sha256: '0'.repeat(64) });
    await images.download([item], trust, forever);
    expect(images.items()).toMatchObject([{ state: 'failed', error: { aosCode: 10 } }]);
    const hex = item.layers[0]!.slice(7);
    expect(publisher.requests.filter((request) => request.includes(hex))).toHaveLength(3);
  });

  test('a blob that the cloud does not have fails the item with not found', async () => {
    const item = publisher.publish('web', '1');
    publisher.blobs.delete(item.layers[0]!);
    await images.download([item], trust, forever);
    expect(images.items()).toMatchObject([{ state: 'failed', error: { aosCode: 5 } }]);
  });

  test('[CM-28] a failed item keeps its error over a restart, until it is desired again and succeeds', async () => {
    const item = publisher.publish('web', '1');
    const blob = publisher.blobs.get(item.layers[0]!)!;
    publisher.blobs.delete(item.layers[0]!);
    await images.download([item], trust, forever);
    await images.install([item], notUsed, forever);
    images = await open();
    expect(images.items()).toMatchObject([{ state: 'failed', error: { aosCode: 5 } }]);
    publisher.blobs.set(item.layers[0]!, blob);
    await images.download([item], trust, forever);
    expect(images.items()).toMatchObject([{ state: 'pending', error: undefined }]);
  });
});

describe('replacing and coming back', () => {
  test('[CM-35] [CM-29] an older version comes back without any download', async () => {
    const [first, second] = [publisher.publish('web', '1'), publisher.publish('web', '2')];
    for (const item of [first, second]) {
      await images.download([item], trust, forever);
      await images.install([item], notUsed, forever);
    }
    expect(images.items()).toMatchObject([
      { version: '1', state: 'removed' },
      { version: '2', state: 'installed' },
    ]);
    publisher.asked.length = 0;
    await images.download([first], trust, forever);
    await images.install([first], notUsed, forever);
    expect(publisher.asked).toEqual([]);
    expect(images.items().find(({ version }) => version === '1')).toMatchObject({ state: 'installed' });
  });

  test('[CM-35] [CM-30] the version that was installed last counts as the newest, also after a restart', async () => {
    const [one, two] = [publisher.publish('web', '1'), publisher.publish('web', '2')];
    for (const wanted of [one, two, one]) {
      await images.download([wanted], trust, forever);
      // An instance of version 2 goes on.
      await images.install([wanted], (_, version) => version === '2', forever);
    }
    const installed = () => images.items().map(({ version, state }) => `${version} ${state}`);
    expect(installed()).toEqual(['2 installed', '1 installed']);
    images = await open();
    expect(installed()).toEqual(['2 installed', '1 installed']);
  });

  test('[CM-52] [CM-29] what was removed goes for good when its time is over, with its blobs', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    await images.install([item], notUsed, forever);
    await images.install([], notUsed, forever);
    await images.removeOutdated();
    expect(await storedBlobs()).not.toEqual([]);
    clock.offsetMs = 5000;
    await images.removeOutdated();
    expect(images.items()).toEqual([]);
    expect(await storedBlobs()).toEqual([]);
  });

  test('[X-21] a date that is set ahead by decades makes no removed item old', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    await images.install([item], notUsed, forever);
    await images.install([], notUsed, forever);
    clock.dateOffsetMs = 30 * 365 * 24 * 3_600_000;
    await images.removeOutdated();
    expect(images.items()).toMatchObject([{ version: '1', state: 'removed' }]);
    expect(await storedBlobs()).not.toEqual([]);
  });

  test('[CM-53] an item that is dropped while it waits goes with its blobs', async () => {
    await images.download([publisher.publish('web', '1')], trust, forever);
    await images.download([], trust, forever);
    expect(images.items()).toEqual([]);
    expect(await storedBlobs()).toEqual([]);
    expect(statesOf('web').at(-1)).toBe('removed');
  });

  test('blobs of a former life are taken by content, and stay until a desired status was accepted', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    database.exec('DELETE FROM image_items');
    images = await open();
    images.start();
    await images.removeOutdated();
    expect(await storedBlobs()).toHaveLength(5);
    publisher.asked.length = 0;
    await images.download([item], trust, forever);
    expect(publisher.asked).toEqual([]);
  });
});

describe('what others ask', () => {
  test('[CM-50] the address of a blob names the file server, and only blobs of known items have one', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    const hex = item.layers[0]!.slice(7);
    expect(await images.blobUrl(item.layers[0]!)).toBe(`http://main:8094/blobs/sha256/${hex}`);
    await expect(images.blobUrl(publisher.put(Buffer.from('unknown')))).rejects.toMatchObject({ code: 'notFound' });
  });

  test('a version that is still being downloaded is not there yet', async () => {
    const item = publisher.publish('web', '1');
    await images.download([item], trust, forever);
    expect(images.indexDigest('web', '1')).toBe(item.indexDigest);
    expect(images.currentVersion('web')).toBe('1');
    expect(() => images.indexDigest('web', '9')).toThrow(/not on the unit/);
    expect(() => images.currentVersion('other')).toThrow(/not on the unit/);
  });
});
