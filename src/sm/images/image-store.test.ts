/** The store with real files; blobs come from a directory that stands for the CM. */
import { chmodSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Clock, type Digest, type ItemIdent, isAosError, silentLogger, systemClock } from '../../core/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { ImageStore, type ImageStoreOptions } from './image-store.ts';
import { BlobSource, type Entry } from './images-for-tests.ts';
import { IMAGE_TABLES } from './item-records.ts';
import type { WantedItem } from './read-item.ts';

const signal = new AbortController().signal;
const DAY_MS = 86_400_000;

/** Waits cost no time; the date is what a test says. */
class TestClock implements Clock {
  date = new Date('2026-05-01T00:00:00Z');
  readonly sleptMs: number[] = [];
  #aheadMs = 0;
  monotonicMs = () => systemClock.monotonicMs() + this.#aheadMs;
  now = () => this.date;
  sleep = async (durationMs: number) => {
    this.sleptMs.push(durationMs);
  };
  advance(durationMs: number): void {
    this.date = new Date(this.date.getTime() + durationMs);
    this.#aheadMs += durationMs;
  }
}

let work: string;
let imagePath: string;
let source: BlobSource;
let database: DatabaseSync;
let clock: TestClock;
let inUse: ItemIdent[];
let damage: string[];
let stores: ImageStore[];

beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'aos-images-'));
  imagePath = join(work, 'images');
  source = await BlobSource.create();
  database = await openDatabase(join(work, 'sm.db'), [IMAGE_TABLES], silentLogger);
  clock = new TestClock();
  inUse = [];
  damage = [];
  stores = [];
});

afterEach(async () => {
  for (const store of stores) await store.stop();
  database.close();
  await source.close();
  await rm(work, { recursive: true, force: true });
});

async function open(options: Partial<ImageStoreOptions> = {}): Promise<ImageStore> {
  const store = await ImageStore.open({
    imagePath,
    database,
    blobUrls: source.blobUrls,
    logger: silentLogger,
    clock,
    inUse: () => inUse,
    onDamage: (item, because) => damage.push(`${item.itemId} ${item.version}: ${because}`),
    ...options,
  });
  stores.push(store);
  return store;
}

const one: Entry[] = [{ name: 'app', mode: 0o755, content: 'application' }];
const two: Entry[] = [{ name: 'lib/data', content: 'data' }];
const publish = (version = '1.0.0', layers = [one, two], itemId = 'item') =>
  source.service(itemId, version, { layers });

const layerDirs = () => readdirSync(join(imagePath, 'layers/sha256')).sort();
const blobs = () => readdirSync(join(imagePath, 'blobs/sha256')).sort();
const hex = (digest: Digest) => digest.slice('sha256:'.length);

test('[SM-05] an unknown field of an item configuration is a warning that names it; a wrong value is refused by its path', async () => {
  const warnings: string[] = [];
  const logger = { ...silentLogger, warn: (_: object, text: string) => void warnings.push(text) };
  const store = await open({ logger });
  const odd = { hostnam: 'radio', quotas: { ramLimt: 1 } };
  const item = await store.install(await source.service('odd', '1', { layers: [], itemConfig: odd }), signal);
  expect(item.itemConfig?.hostname).toBeUndefined();
  expect(warnings).toEqual([
    'item configuration: unknown key "hostnam" is ignored; did you mean "hostname"?',
    'item configuration: unknown key "quotas.ramLimt" is ignored; did you mean "ramLimit"?',
  ]);
  const wrong = await source.service('wrong', '1', { layers: [], itemConfig: { quotas: { ramLimit: 'much' } } });
  await expect(store.install(wrong, signal)).rejects.toMatchObject({
    code: 'invalidArgument',
    message: expect.stringMatching(/cannot install wrong 1: .*quotas\.ramLimit: .*found "much"/),
  });
  expect(store.installed().map(({ itemId }) => itemId)).toEqual(['odd']);
});

test('[SM-05] an item is fetched by its digests, checked and unpacked', async () => {
  const store = await open();
  const wanted = await publish();
  const item = await store.install(wanted, signal);
  expect(item).toMatchObject({ itemId: 'item', type: 'service', version: '1.0.0', files: [] });
  expect(item.layers.map((layer) => readdirSync(layer))).toEqual([['app'], ['lib']]);
  expect(item.layerOrderBecause).toMatch(/first layer is on top/);
  expect(item.itemConfig?.runtimes).toEqual(['crun']);
  expect(item.imageConfig?.config.cmd).toEqual(['/bin/sh']);
  expect(new Set(source.asked).size).toBe(5);
  // Neither a packed layer nor a download stays.
  expect(blobs()).toHaveLength(3);
  expect(readdirSync(join(imagePath, 'downloads'))).toEqual([]);
  expect(store.installed()).toEqual([expect.objectContaining({ itemId: 'item', version: '1.0.0' })]);
});

test('[SM-07] an image of a standard builder is stacked the other way round', async () => {
  const store = await open();
  const history = [{ created_by: 'a' }, { created_by: 'b' }, { empty_layer: true }];
  const wanted = await source.service('item', '1.0.0', { layers: [one, two], imageConfig: { history } });
  const item = await store.install(wanted, signal);
  expect(item.layers.map((layer) => readdirSync(layer))).toEqual([['lib'], ['app']]);
  expect(item.layerOrderBecause).toMatch(/history/);
});

test('[SM-06] what is here is not fetched again, by this or a later process', async () => {
  const store = await open();
  const wanted = await publish();
  const item = await store.install(wanted, signal);
  const asked = source.asked.length;
  // Nothing is read of the layer: damage shows in the integrity check only.
  await writeFile(join(item.layers[0]!, 'app'), 'x');
  expect(await store.install(wanted, signal)).toEqual(item);
  expect(
    await (await open()).install(
      { ...wanted, manifestDigest: wanted.manifestDigest.toUpperCase().replace('SHA', 'sha') },
      signal,
    ),
  ).toEqual(item);
  expect(source.asked).toHaveLength(asked);
});

test('[SM-07] [SM-63] items share a layer; a layer that one of them fetches is fetched once', async () => {
  const store = await open();
  const wanted = await Promise.all([0, 1, 2, 3, 4, 5].map((index) => publish('1.0.0', [one, two], `item${index}`)));
  const items = await Promise.all(wanted.map((item) => store.install(item, signal)));
  expect(new Set(items.flatMap(({ layers }) => layers)).size).toBe(2);
  expect(layerDirs()).toHaveLength(2);
  for (const digest of wanted[0]!.layerDigests)
    expect(source.asked.filter((asked) => asked === digest)).toHaveLength(1);
});

test('[SM-05] a component keeps its files as they are', async () => {
  const store = await open();
  const wanted = await source.component('boot', '1.0.0', [Buffer.from('first'), Buffer.from('second')]);
  const item = await store.install(wanted, signal);
  expect(item.layers).toEqual([]);
  expect(item.files.map((file) => readFileSync(file, 'utf8'))).toEqual(['first', 'second']);
});

test('[X-14] content that is not that of its digest is fetched again and then refused, and nothing of it stays', async () => {
  const store = await open();
  const wanted = await publish();
  const layer = wanted.layerDigests[0]!;
  await source.spoil(layer, readFileSync(new URL(String((await source.blobUrls([wanted.layerDigests[1]!]))[0]))));
  await expect(store.install(wanted, signal)).rejects.toSatisfy(
    (error) => isAosError(error, 'invalidChecksum') && error.message.startsWith('cannot install item 1.0.0: layer 0'),
  );
  expect(source.asked.filter((digest) => digest === layer)).toHaveLength(3);
  expect(layerDirs()).toEqual([]);
  expect(readdirSync(join(imagePath, 'downloads'))).toEqual([]);
  expect(store.installed()).toEqual([]);
});

test('[X-14] a manifest with another content is refused', async () => {
  const store = await open();
  const wanted = await publish();
  await source.spoil(wanted.manifestDigest, '{"layers":[]}');
  await expect(store.install(wanted, signal)).rejects.toSatisfy((error) => isAosError(error, 'invalidChecksum'));
  expect(blobs()).toEqual([]);
});

test('[SM-05] a blob that the CM does not offer, a media type, a missing diff id: each is refused by its name', async () => {
  const store = await open();
  const wanted = await publish();
  source.withheld.add(wanted.layerDigests[1]!);
  await expect(store.install(wanted, signal)).rejects.toSatisfy(
    (error) => isAosError(error, 'notFound') && /layer 1 of item 1.0.0.*the CM offers no address/.test(error.message),
  );
  const foreign = await source.service('foreign', '1', { layers: [one], mediaType: 'text/plain' });
  await expect(store.install(foreign, signal)).rejects.toSatisfy((error) => isAosError(error, 'notSupported'));
  const bare = await source.service('bare', '1', { layers: [one], imageConfig: { rootfs: { diff_ids: [] } } });
  await expect(store.install(bare, signal)).rejects.toSatisfy((error) => isAosError(error, 'outOfRange'));
});

test('[SM-06] an install that nobody wants any more ends, and the next one goes on', async () => {
  const abort = new AbortController();
  const wanted = await publish();
  const store = await open({
    blobUrls: async (digests) => {
      if (digests[0] === wanted.layerDigests[1]) abort.abort();
      return source.blobUrls(digests);
    },
  });
  await expect(store.install(wanted, abort.signal)).rejects.toSatisfy((error) => isAosError(error, 'canceled'));
  const before = source.asked.length;
  await store.install(wanted, signal);
  const again = source.asked.slice(before);
  expect(again).toContain(wanted.layerDigests[1]);
  // The documents were here; the other layer may have been under way.
  expect(wanted.layerDigests).toEqual(expect.arrayContaining(again));
});

test('[SM-09] a removed item stays for its time and goes then, with what no other item needs', async () => {
  const store = await open({ itemTtlMs: 30 * DAY_MS });
  const wanted = await publish('1.0.0', [one, two]);
  await store.install(wanted, signal);
  await store.install(await publish('1.0.0', [two], 'other'), signal);
  store.remove('item', '1.0.0');
  expect(store.installed().map(({ itemId }) => itemId)).toEqual(['other']);

  clock.advance(29 * DAY_MS);
  await store.cleanUp(signal);
  expect(layerDirs()).toHaveLength(2);
  clock.advance(2 * DAY_MS);
  await store.cleanUp(signal);
  expect(layerDirs()).toEqual([hex(wanted.layerDigests[1]!)]);
  expect(blobs()).toHaveLength(3);
  expect(() => store.remove('item', '1.0.0')).toThrow(/not on this node/);
});

test('[SM-09] a clock that was never set lets nothing expire', async () => {
  const store = await open();
  await store.install(await publish(), signal);
  clock.date = new Date(0);
  store.remove('item', '1.0.0');
  clock.date = new Date('2026-05-01T00:00:00Z');
  await store.cleanUp(signal);
  expect(layerDirs()).toHaveLength(2);
});

test('[X-21] a date that is set ahead by decades lets nothing expire', async () => {
  const store = await open();
  await store.install(await publish(), signal);
  store.remove('item', '1.0.0');
  clock.date = new Date('2086-05-01T00:00:00Z');
  await store.cleanUp(signal);
  expect(layerDirs()).toHaveLength(2);
});

test('[SM-09] an item that is installed again after its removal is not removed any more', async () => {
  const store = await open();
  const wanted = await publish();
  await store.install(wanted, signal);
  store.remove('item', '1.0.0');
  const asked = source.asked.length;
  await store.install(wanted, signal);
  clock.advance(100 * DAY_MS);
  await store.cleanUp(signal);
  expect(layerDirs()).toHaveLength(2);
  expect(source.asked).toHaveLength(asked);
});

test('[SM-09] nothing of an item with running instances is removed', async () => {
  const store = await open();
  await store.install(await publish(), signal);
  store.remove('item', '1.0.0');
  inUse = [{ itemId: 'item', version: '1.0.0' }];
  clock.advance(100 * DAY_MS);
  await store.cleanUp(signal);
  expect(layerDirs()).toHaveLength(2);
});

test('[SM-09] two manifests of one version, as instances on two runtimes have them, keep each other', async () => {
  const store = await open();
  const [first, second] = [await publish('1.0.0', [one]), await publish('1.0.0', [two])];
  inUse = [{ itemId: 'item', version: '1.0.0' }];
  for (const manifest of [first, second, first]) await store.install(manifest, signal);
  await store.cleanUp(signal);
  expect(layerDirs()).toEqual([...first.layerDigests, ...second.layerDigests].map(hex).sort());
  // Nobody uses it any more: what is installed next is all that stays.
  inUse = [];
  await store.install(second, signal);
  await store.cleanUp(signal);
  expect(layerDirs()).toEqual(second.layerDigests.map(hex));
});

test('[SM-09] two versions are kept for a way back; a third takes the place of the oldest that nobody uses', async () => {
  const store = await open();
  for (const version of ['1.0.0', '2.0.0']) {
    await store.install(await publish(version, [[{ name: version }]]), signal);
    clock.advance(1000);
  }
  expect(layerDirs()).toHaveLength(2);
  inUse = [{ itemId: 'item', version: '1.0.0' }];
  await store.install(await publish('3.0.0', [[{ name: '3.0.0' }]]), signal);
  expect(store.installed().map(({ version }) => version)).toEqual(['1.0.0', '3.0.0']);
  expect(layerDirs()).toHaveLength(2);
});

test('[SM-08] a damaged item is found at the check, reported, and fetched again when it is asked for', async () => {
  const store = await open();
  const wanted = await publish();
  const item = await store.install(wanted, signal);
  await truncate(join(item.layers[0]!, 'app'), 3);
  await store.cleanUp(signal);
  expect(damage).toEqual([`item 1.0.0: layer ${wanted.layerDigests[0]}: file "app" has 3 bytes, expected 11`]);
  // Told once.
  await store.cleanUp(signal);
  expect(damage).toHaveLength(1);
  const asked = source.asked.length;
  await store.install(wanted, signal);
  expect(source.asked.slice(asked)).toEqual([wanted.layerDigests[0]]);
  expect(readFileSync(join(item.layers[0]!, 'app'), 'utf8')).toBe('application');
});

test('[SM-08] a damaged document is found and fetched again', async () => {
  const store = await open();
  const wanted = await publish();
  await store.install(wanted, signal);
  const path = join(imagePath, 'blobs/sha256', hex(wanted.manifestDigest));
  chmodSync(path, 0o644);
  await writeFile(path, '{}');
  await store.cleanUp(signal);
  expect(damage).toHaveLength(1);
  await store.install(wanted, signal);
  expect(source.asked.filter((digest) => digest === wanted.manifestDigest)).toHaveLength(2);
});

test('[SM-08] what instances use stays as it is, even damaged, until they are gone', async () => {
  const store = await open();
  const wanted = await publish();
  const item = await store.install(wanted, signal);
  await truncate(join(item.layers[0]!, 'app'), 3);
  inUse = [{ itemId: 'item', version: '1.0.0' }];
  await store.cleanUp(signal);
  expect(await store.install(wanted, signal)).toEqual(item);
  expect(readFileSync(join(item.layers[0]!, 'app'), 'utf8')).toBe('app');
  inUse = [];
  await store.install(wanted, signal);
  expect(readFileSync(join(item.layers[0]!, 'app'), 'utf8')).toBe('application');
});

test('[SM-08] contents are compared in the background, no faster than 10 MB/s', async () => {
  const store = await open();
  const content = Buffer.alloc(3 * 1024 * 1024, 1);
  const item = await store.install(await publish('1.0.0', [[{ name: 'big', content }]]), signal);
  await writeFile(join(item.layers[0]!, 'big'), Buffer.alloc(content.length, 2));
  const found = new Promise<void>((resolve) => {
    const push = damage.push.bind(damage);
    damage.push = (...items: string[]) => {
      resolve();
      return push(...items);
    };
  });
  clock.sleep = async (durationMs: number, until: AbortSignal = signal) => {
    clock.sleptMs.push(durationMs);
    if (durationMs >= DAY_MS) await systemClock.sleep(durationMs, until);
  };
  store.startCleanUp();
  await found;
  expect(damage[0]).toMatch(/the content of file "big" has changed/);
  const readMs = clock.sleptMs
    .filter((durationMs) => durationMs < DAY_MS)
    .reduce((sum, durationMs) => sum + durationMs, 0);
  expect(readMs).toBeGreaterThanOrEqual(300);
});

test('[SM-09] remains of others and of interrupted work are removed', async () => {
  const store = await open();
  const wanted = await publish();
  await store.install(wanted, signal);
  const stray = 'f'.repeat(64);
  await writeFile(join(imagePath, 'blobs/sha256', stray), 'sha256:stub of another implementation');
  await mkdir(join(imagePath, 'layers/sha256', stray, 'layer'), { recursive: true });
  await writeFile(join(imagePath, 'downloads', stray), 'partial');
  await store.cleanUp(signal);
  expect(layerDirs()).toHaveLength(2);
  expect(blobs()).toHaveLength(3);
  expect(readdirSync(join(imagePath, 'downloads'))).toEqual([]);
  expect(existsSync(join(imagePath, 'layers/sha256', hex(wanted.layerDigests[0]!), 'layer.json'))).toBe(true);
});

test('[SM-09] removed items make room when the partition may hold no more', async () => {
  const big = (seed: number) => [{ name: 'big', content: Buffer.alloc(100_000, seed) }];
  const store = await open({ partLimitPercent: 0.000_001 });
  const wanted: WantedItem = await publish('1.0.0', [big(1)]);
  await expect(store.install(wanted, signal)).rejects.toSatisfy(
    (error) => isAosError(error, 'noMemory') && /not enough space/.test(error.message),
  );
});

test('an image path that cannot be in the options of a mount is refused', async () => {
  await expect(open({ imagePath: join(work, 'a:b') })).rejects.toThrow(/contains ":"/);
});
