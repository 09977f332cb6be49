/** Bundles on a unit whose images, launcher and update manager are real; the cloud is silent. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { AosError, digestOf, silentLogger, systemClock } from '../../core/index.ts';
import type { DesiredStatus } from '../../protocol/index.ts';
import { makeCertificate } from '../../storage/certificates-for-tests.ts';
import { Downloader, openDatabase } from '../../storage/index.ts';
import type { NewEvent } from '../events/index.ts';
import { IMAGE_TABLES, type ImageManager, openImages, type WantedItem } from '../images/index.ts';
import { hurriedClock, Publisher } from '../images/publisher-for-tests.ts';
import { TestUnit } from '../launcher/unit-for-tests.ts';
import { desiredStatus } from '../updates/desired-for-tests.ts';
import { UPDATE_TABLES, UpdateManager, UpdateStore } from '../updates/index.ts';
import { BundleDesk } from './bundle-desk.ts';
import { BundleMaker, type BundleParts, signerOf, tarOf } from './bundles-for-tests.ts';

const UNIT = 'unit-1';
const HOUR_MS = 3_600_000;
const forever = new AbortController().signal;

let directory: string;
let database: DatabaseSync;
let publisher: Publisher;
let maker: BundleMaker;
let unit: TestUnit;
let images: ImageManager;
let updates: UpdateManager;
let desk: BundleDesk;
let events: NewEvent[];
let askedCloud: string[];
let roomBytes: number;

/** A CM as it starts: with what is on the disk. */
async function boot(): Promise<void> {
  const clock = hurriedClock();
  const sink = { record: (event: NewEvent) => events.push(event) };
  desk = new BundleDesk({
    directory: join(directory, 'bundles'),
    systemId: UNIT,
    roots: maker.roots,
    updates: () => updates,
    reserve: async (_, bytes) => {
      if (bytes > roomBytes) throw new AosError('noMemory', 'not enough space');
      return () => undefined;
    },
    clock: systemClock,
    logger: silentLogger,
  });
  const silence = {
    locate: (digest: string, signal: AbortSignal) => {
      askedCloud.push(digest);
      return systemClock.sleep(HOUR_MS, signal) as Promise<never>;
    },
  };
  images = await openImages({
    database,
    installPath: join(directory, 'install'),
    downloadPath: join(directory, 'download'),
    source: desk.source(silence),
    updateItemTtlMs: HOUR_MS,
    removeOutdatedPeriodMs: 24 * HOUR_MS,
    trust: () => publisher.trust,
    blobUrlPrefix: () => 'http://main:8094',
    caPem: [],
    onDownload: () => undefined,
    events: sink,
    logger: silentLogger,
    clock,
    downloader: new Downloader({ clock, tries: 2 }),
  });
  unit.readItem = (itemId, version) => images.readItem(itemId, version);
  updates = new UpdateManager({
    store: new UpdateStore(database),
    images,
    launcher: unit.launcher,
    nodes: { state: () => 'provisioned', pause: async () => undefined, resume: async () => undefined },
    unitConfig: unit.config,
    reports: { nodeUpdateFailed: () => undefined, unitConfigOutcome: () => undefined, sendFull: () => undefined },
    trust: () => publisher.trust,
    events: sink,
    logger: silentLogger,
  });
}

async function shutDown(): Promise<void> {
  await updates.stop();
  await images.stop();
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cm-bundles-'));
  database = await openDatabase(join(directory, 'cm.db'), [IMAGE_TABLES, UPDATE_TABLES], silentLogger);
  publisher = await Publisher.open();
  maker = await BundleMaker.create();
  unit = await TestUnit.create();
  unit.connect('main');
  events = [];
  askedCloud = [];
  roomBytes = 1024 ** 3;
  await boot();
  updates.start();
  await desk.start();
});

afterEach(async () => {
  await shutDown();
  await unit.close();
  await publisher.close();
  database.close();
  await rm(directory, { recursive: true, force: true });
});

/** A desired status that names what was published. */
function wanting(...wanted: readonly WantedItem[]): DesiredStatus {
  const status = desiredStatus(Object.fromEntries(wanted.map(({ itemId, version }) => [itemId, version])));
  const items = status.items!.map((entry, index) => ({ ...entry, indexDigest: wanted[index]!.indexDigest }));
  return { ...status, items };
}

/** A bundle with an item for this unit and all blobs that were published. */
const partsOf = (wanted: readonly WantedItem[], more: Partial<BundleParts> = {}): BundleParts => ({
  units: { [UNIT]: wanting(...wanted) },
  blobs: [...publisher.blobs.values()].map(({ info, file }) => ({ info, file })),
  ...more,
});
const make = (wanted: readonly WantedItem[], more?: Partial<BundleParts>) =>
  tarOf(maker.entries(partsOf(wanted, more)));

async function* inPieces(bytes: Buffer, pieceBytes = 1000) {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield Buffer.from(bytes.subarray(at, at + pieceBytes));
}
const apply = (bytes: Buffer) => desk.apply(inPieces(bytes), forever);
const settled = () => vi.waitFor(() => expect(updates.state.state).toBe('none'), 10_000);
const left = () => readdir(join(directory, 'bundles'));
const itemsOf = () => images.items().map(({ itemId, version, state }) => `${itemId} ${version} ${state}`);

describe('[P-12] a bundle', () => {
  test('brings an item to a unit that hears of no cloud, and leaves nothing else behind', async () => {
    const report = await apply(await make([publisher.publish('web', '1')]));
    expect(report).toMatchObject({ outcome: 'accepted', items: [{ itemId: 'web', version: '1' }] });
    await settled();
    expect(unit.summary()).toEqual(['web/0 1 main active']);
    expect(itemsOf()).toEqual(['web 1 installed']);
    expect(askedCloud).toEqual([]);
    expect(publisher.requests).toEqual([]);
    await vi.waitFor(async () => expect(await left()).toEqual([]));
  });

  test('that is applied twice changes nothing the second time, and need not be read to its end', async () => {
    const bundle = await make([publisher.publish('web', '1')]);
    await apply(bundle);
    await settled();
    const before = JSON.stringify([updates.desired, updates.state, unit.summary()]);
    expect(await apply(bundle)).toMatchObject({ outcome: 'as it is' });
    expect(await apply(bundle.subarray(0, bundle.length / 2))).toMatchObject({ outcome: 'as it is' });
    expect(JSON.stringify([updates.desired, updates.state, unit.summary()])).toBe(before);
  });

  test('may be for several units; each takes its own part', async () => {
    const [mine, other] = [publisher.publish('mine', '1'), publisher.publish('other', '1')];
    const units = { 'unit-2': wanting(other), [UNIT]: wanting(mine) };
    await apply(await make([], { units }));
    await settled();
    expect(unit.summary()).toEqual(['mine/0 1 main active']);
  });

  test('goes on after the CM was killed in the middle of its update, with its own blobs', async () => {
    const bundle = await make([publisher.publish('web', '1')]);
    // A launcher that never answers holds the update up after it was accepted.
    const held = desk.apply(inPieces(bundle), forever);
    await held;
    await shutDown();
    expect(await left()).toHaveLength(1);
    await boot();
    updates.start();
    await desk.start();
    await settled();
    expect(unit.summary()).toEqual(['web/0 1 main active']);
    expect(askedCloud).toEqual([]);
    await vi.waitFor(async () => expect(await left()).toEqual([]));
  });

  test('whose sender goes away in the middle leaves nothing', async () => {
    const bundle = await make([publisher.publish('web', '1')]);
    const end = new AbortController();
    async function* broken() {
      yield bundle.subarray(0, bundle.length / 2);
      end.abort(new AosError('canceled', 'nobody listens any more'));
      yield bundle.subarray(bundle.length / 2);
    }
    await expect(desk.apply(broken(), end.signal)).rejects.toMatchObject({ code: 'canceled' });
    expect(updates.desired).toBeUndefined();
    await vi.waitFor(async () => expect(await left()).toEqual([]));
  });

  test('one at a time', async () => {
    const bundle = await make([publisher.publish('web', '1')]);
    const first = apply(bundle);
    await expect(apply(bundle)).rejects.toThrow('another bundle is being read');
    await first;
  });

  test('that finds no room is refused before anything of it is written', async () => {
    roomBytes = 10;
    await expect(apply(await make([publisher.publish('web', '1')]))).rejects.toMatchObject({
      code: 'noMemory',
      message: expect.stringMatching(/the bundle needs \d+ bytes in .*bundles/),
    });
    expect(updates.desired).toBeUndefined();
    await vi.waitFor(async () => expect(await left()).toEqual([]));
  });
});

describe('[P-12] [R-12] a bundle is refused, in words, and nothing changes', () => {
  const refused = async (bundle: Buffer | Promise<Buffer>, words: RegExp) => {
    await expect(apply(await bundle)).rejects.toThrow(words);
    expect(updates.desired).toBeUndefined();
    expect(images.items()).toEqual([]);
    await vi.waitFor(async () => expect(await left()).toEqual([]));
  };
  let web: WantedItem;
  beforeEach(() => {
    web = publisher.publish('web', '1');
  });

  test('for another unit', () =>
    refused(make([], { units: { 'unit-7': wanting(web) } }), /the bundle is for unit-7; this unit is unit-1/));

  test('signed by an authority that this unit does not know', async () => {
    const stranger = await signerOf(await makeCertificate('stranger', { ca: true }));
    await refused(
      make([web], { signer: stranger }),
      /not believed: certificate chain is not trusted: "CN=bundle signer"/,
    );
  });

  test('signed by somebody of the right authority whose certificate is for something else: a unit, an operator', async () => {
    const signer = await makeCertificate('unit-9-online', { issuer: maker.root });
    await refused(make([web], { signer }), /signed by "CN=unit-9-online", which may not sign bundles/);
  });

  test('with a list that was changed after it was signed', () =>
    refused(
      make([web], { manifest: (signed) => ({ ...signed, units: [{ systemId: UNIT, desiredStatus: {} }] }) }),
      /not believed: signature is wrong/,
    ));

  test.each([
    ['format', { format: 'zip' }, /no bundle for a unit/],
    ['version', { version: 2 }, /form 2, this release reads form 1; update the unit first/],
    ['createdAt', { createdAt: '2999-01-01T00:00:00Z' }, /claims an impossible time/],
    ['createdAt', { createdAt: 'soon' }, /createdAt: expected a time/],
    ['blobs', { blobs: [{ digest: 'x' }] }, /blobs\[0\].digest: expected sha256/],
    [
      'units',
      { units: [{ systemId: UNIT, desiredStatus: { items: [{ version: '1' }] } }] },
      /desired status of the bundle is bad/,
    ],
  ])('signed, with a strange %s', (_, change, words) =>
    refused(make([web], { changeBeforeSigning: (manifest) => ({ ...manifest, ...change }) }), words),
  );

  test('what is no bundle at all', async () => {
    await refused(Buffer.from('hello'), /archive ends too early|no bundle/);
    await refused(Buffer.alloc(0), /no bundle for a unit, or it is cut short/);
    await refused(tarOf([['etc/passwd', Buffer.from('root')]]), /"etc\/passwd" where bundle\.json is expected/);
  });

  test('with entries that it should not have, or of another size', async () => {
    const entries = maker.entries(partsOf([web]));
    await refused(tarOf([...entries, ['more', Buffer.from('x')]]), /"more" where nothing more is expected/);
    await refused(tarOf([...entries.slice(0, 3), ...entries.slice(4)]), /where blobs\/[0-9a-f]+ is expected/);
    const [name, content] = entries[2]!;
    await refused(
      tarOf([...entries.slice(0, 2), [name, Buffer.concat([content, content])]]),
      /has \d+ bytes, expected \d+/,
    );
  });

  test('cut short anywhere', async () => {
    const bundle = await make([web]);
    for (let at = 300; at < bundle.length - 1024; at += 701) {
      await refused(bundle.subarray(0, at), /cut short|too early|no bundle/);
    }
  });

  test('with one byte flipped anywhere that counts', async () => {
    const entries = maker.entries(partsOf([web]));
    const at = entries.flatMap(([, content], index) =>
      [0, Math.floor(content.length / 2), content.length - 1].map((offset) => ({ index, offset })),
    );
    for (const { index, offset } of at) {
      const flipped = entries.map(([name, content], which): [string, Buffer] => {
        const copy = Buffer.from(content);
        if (which === index) copy[offset]! ^= 0x20;
        return [name, copy];
      });
      await refused(tarOf(flipped), /./);
    }
  });
});

test('[P-12] [R-06] a bundle with anything done to its bytes is refused with an error of ours, or says the same', async () => {
  const entries = maker.entries(partsOf([publisher.publish('web', '1')]));
  const bundle = await tarOf(entries);
  // Two blocks of zeros end an archive, and say nothing.
  const place = fc.nat(bundle.length - 1025);
  await fc.assert(
    fc.asyncProperty(place, place, fc.uint8Array({ maxLength: 700 }), async (a, b, other) => {
      const [from, to] = [Math.min(a, b), Math.max(a, b)];
      const spoiled = Buffer.concat([bundle.subarray(0, from), other, bundle.subarray(to)]);
      try {
        // What fills up the blocks of an archive says nothing either.
        expect((await apply(spoiled)).bundle).toBe(digestOf(entries[0]![1]));
      } catch (error) {
        expect(error).toBeInstanceOf(AosError);
      }
    }),
    { numRuns: 150 },
  );
});

test.skipIf(process.getuid?.() !== 0)(
  '[P-12] [R-02] a disk that fills while a bundle comes: nothing has changed, nothing is left, and with room it works',
  async () => {
    const bundle = await make([publisher.publish('web', '1', { layers: [randomBytes(300_000)] })]);
    const small = join(directory, 'bundles');
    const mount = (sizeKib: number, how = '') =>
      execFileSync('mount', ['-t', 'tmpfs', '-o', `${how}size=${sizeKib}k`, 'tmpfs', small]);
    mount(128);
    try {
      await expect(apply(bundle)).rejects.toMatchObject({ code: 'noMemory' });
      expect(updates.desired).toBeUndefined();
      await vi.waitFor(async () => expect(await left()).toEqual([]));
      mount(4096, 'remount,');
      await apply(bundle);
      await settled();
      expect(unit.summary()).toEqual(['web/0 1 main active']);
      await vi.waitFor(async () => expect(await left()).toEqual([]));
    } finally {
      execFileSync('umount', ['-l', small]);
    }
  },
);

describe('[P-12] [R-12] what is newer wins', () => {
  const now = Date.now();
  const ago = (minutes: number) => new Date(now - minutes * 60_000);
  const said = (minutes: number) =>
    ({ source: 'cloud', createdAt: `${ago(minutes).toISOString().slice(0, 23)}000Z` }) as const;

  test('an older bundle is refused after a newer one, also after a restart', async () => {
    const old = await make([publisher.publish('web', '1')], { createdAt: ago(20) });
    await apply(await make([publisher.publish('web', '2')], { createdAt: ago(10) }));
    await settled();
    const words = /the bundle is too old: it was made at .*; another bundle of .* is in force; make a new one/;
    await expect(apply(old)).rejects.toThrow(words);
    await shutDown();
    await boot();
    updates.start();
    await desk.start();
    await expect(apply(old)).rejects.toThrow(words);
    expect(unit.summary()).toEqual(['web/0 2 main active']);
  });

  test('a message that the cloud made before the bundle is not obeyed, and people are told; a later one is', async () => {
    const [one, two, three] = ['1', '2', '3'].map((version) => publisher.publish('web', version));
    await apply(await make([two!], { createdAt: ago(10) }));
    await settled();
    updates.accept(wanting(one!), [], said(11));
    await settled();
    expect(unit.summary()).toEqual(['web/0 2 main active']);
    expect(events.at(-1)).toMatchObject({
      what: 'a desired status of the cloud is not obeyed',
      because: expect.stringMatching(/the bundle in force later/),
    });
    updates.accept(wanting(three!), [], said(9));
    expect(updates.desired?.items[0]?.version).toBe('3');
    await expect(apply(await make([two!], { createdAt: ago(10) }))).rejects.toThrow(/a desired status of the cloud of/);
  });

  test('a bundle that was made before the cloud last said the same is refused as well', async () => {
    const web = publisher.publish('web', '1');
    await apply(await make([web], { createdAt: ago(30) }));
    await settled();
    updates.accept(wanting(web), [], said(5));
    const between = make([publisher.publish('web', '2')], { createdAt: ago(10) });
    await expect(apply(await between)).rejects.toThrow(/the cloud has said what it wants at/);
    updates.accept(wanting(web), [], said(40));
    expect(updates.desired?.origin).toMatchObject({ source: 'bundle' });
  });

  test('a newer bundle that says what is in force is remembered, without an update', async () => {
    const web = publisher.publish('web', '1');
    const bundle = await make([web], { createdAt: ago(20) });
    await apply(bundle);
    await settled();
    const { since } = updates.state;
    expect(await apply(await make([web], { createdAt: ago(10) }))).toMatchObject({ outcome: 'as it is' });
    expect(updates.state).toEqual({ state: 'none', since });
    await expect(apply(bundle)).rejects.toThrow(/too old/);
  });

  test('a unit whose cloud is gone in the middle of a download gets the rest from a bundle', async () => {
    const web = publisher.publish('web', '1');
    updates.accept(wanting(web), [], said(30));
    await vi.waitFor(() => expect(askedCloud).not.toEqual([]));
    const bundle = await make([web], { createdAt: ago(20) });
    expect(await apply(bundle)).toMatchObject({ outcome: 'accepted' });
    await settled();
    expect(unit.summary()).toEqual(['web/0 1 main active']);
    expect(await apply(bundle)).toMatchObject({ outcome: 'as it is' });
  });
});
