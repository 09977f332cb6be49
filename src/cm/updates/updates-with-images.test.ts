/** The update manager with the real image manager and the real launcher: a cloud of blobs, scripted service managers. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import type { BlobInfo, DesiredStatus } from '../../protocol/index.ts';
import { Downloader, openDatabase } from '../../storage/index.ts';
import { IMAGE_TABLES, type ImageManager, openImages, type WantedItem } from '../images/index.ts';
import { hurriedClock, Publisher } from '../images/publisher-for-tests.ts';
import { TestUnit } from '../launcher/unit-for-tests.ts';
import { desiredStatus } from './desired-for-tests.ts';
import { UpdateManager } from './update-manager.ts';
import { UPDATE_TABLES, UpdateStore } from './update-store.ts';

let directory: string;
let database: DatabaseSync;
let publisher: Publisher;
let images: ImageManager;
let unit: TestUnit;
let updates: UpdateManager;
let fullStatuses = 0;
/** Changes what the cloud says of a blob. */
let tell: (blob: BlobInfo) => BlobInfo;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cm-whole-'));
  database = await openDatabase(
    join(directory, 'cm.db'),
    [IMAGE_TABLES, UPDATE_TABLES].map((sql) => sql),
    silentLogger,
  );
  publisher = await Publisher.open();
  tell = (blob) => blob;
  const clock = hurriedClock();
  const events = { record: () => undefined };
  images = await openImages({
    database,
    installPath: join(directory, 'install'),
    downloadPath: join(directory, 'download'),
    source: { locate: async (digest) => tell(await publisher.locate(digest)) },
    updateItemTtlMs: 3_600_000,
    removeOutdatedPeriodMs: 24 * 3_600_000,
    trust: () => publisher.trust,
    blobUrlPrefix: () => 'http://main:8094',
    caPem: [],
    onDownload: () => undefined,
    events,
    logger: silentLogger,
    clock,
    downloader: new Downloader({ clock, tries: 2 }),
  });
  unit = await TestUnit.create();
  unit.readItem = (itemId, version) => images.readItem(itemId, version);
  fullStatuses = 0;
  updates = new UpdateManager({
    store: new UpdateStore(database),
    images,
    launcher: unit.launcher,
    nodes: { state: () => 'provisioned', pause: async () => undefined, resume: async () => undefined },
    unitConfig: unit.config,
    reports: {
      nodeUpdateFailed: () => undefined,
      unitConfigOutcome: () => undefined,
      sendFull: () => {
        fullStatuses += 1;
      },
    },
    trust: () => publisher.trust,
    events,
    logger: silentLogger,
  });
  updates.start();
});

afterEach(async () => {
  await updates.stop();
  await unit.close();
  await images.stop();
  await publisher.close();
  database.close();
  await rm(directory, { recursive: true, force: true });
});

/** A desired status that names what was published. */
function wanting(...items: readonly WantedItem[]): DesiredStatus {
  const status = desiredStatus(Object.fromEntries(items.map(({ itemId, version }) => [itemId, version])));
  return {
    ...status,
    items: status.items!.map((entry, index) => ({
      ...entry,
      item: { ...entry.item, type: items[index]!.type },
      indexDigest: items[index]!.indexDigest,
    })),
  };
}

async function carryOut(status: DesiredStatus): Promise<void> {
  const before = fullStatuses;
  updates.accept(status);
  await vi.waitFor(() => expect(fullStatuses).toBe(before + 1), 10_000);
}

const items = () => images.items().map(({ itemId, version, state }) => `${itemId} ${version} ${state}`);

describe('a download that fails', () => {
  test('[CM-24] fails its item with the reason; the version that runs goes on untouched, the other item is updated', async () => {
    const sm = unit.connect('main');
    await carryOut(wanting(publisher.publish('web', '1'), publisher.publish('db', '1')));
    expect(unit.summary()).toEqual(['db/0 1 main active', 'web/0 1 main active']);
    const { starts } = sm;
    const bad = publisher.publish('web', '2');
    publisher.tell(bad.layers[0]!, { sha256: '0'.repeat(64) });
    await carryOut(wanting(bad, publisher.publish('db', '2')));
    expect(updates.state.state).toBe('none');
    expect(items()).toEqual(['web 1 installed', 'db 1 removed', 'web 2 failed', 'db 2 installed']);
    expect(images.items().find(({ state }) => state === 'failed')?.error).toMatchObject({ aosCode: 10 });
    expect(unit.summary()).toEqual(['db/0 2 main active', 'web/0 1 main active']);
    expect(sm.starts).toBe(starts + 1);
  });

  test('[CM-24] of everything leaves the unit as it was', async () => {
    const sm = unit.connect('main');
    await carryOut(wanting(publisher.publish('web', '1')));
    const running = JSON.stringify(unit.summary());
    const bad = publisher.publish('web', '2');
    publisher.tell(bad.indexDigest, { signInfo: undefined as never, sha256: '0'.repeat(64) });
    await carryOut(wanting(bad));
    expect(JSON.stringify(unit.summary())).toBe(running);
    expect(sm.starts).toBe(1);
  });
});

describe('blobs', () => {
  test('[CM-40] come from the first of several addresses that has them', async () => {
    unit.connect('main');
    tell = (blob) => ({ ...blob, urls: ['http://127.0.0.1:9/nobody', `${blob.urls[0]}00`, ...blob.urls] });
    await carryOut(wanting(publisher.publish('web', '1')));
    expect(items()).toEqual(['web 1 installed']);
    expect(unit.summary()).toEqual(['web/0 1 main active']);
  });

  test('[CM-40] come from files of this machine, and are decrypted and verified like all others', async () => {
    unit.connect('main');
    const good = publisher.publish('web', '1');
    const files = new Map<string, string>();
    for (const [digest, { file }] of publisher.blobs) {
      const path = join(directory, digest.slice(7));
      await writeFile(path, file);
      files.set(digest, pathToFileURL(path).href);
    }
    tell = (blob) => ({ ...blob, urls: [files.get(blob.digest) ?? 'file:///nowhere'] });
    await carryOut(wanting(good));
    expect(items()).toEqual(['web 1 installed']);
    expect(publisher.requests).toEqual([]);
  });
});

test('[CM-31] a component is updated by the same desired state, on the runtime that it names, and nowhere else', async () => {
  const sm = unit.connect('main', { runtimeTypes: ['runc', 'boot'] });
  const component = (version: string): WantedItem => ({
    ...publisher.publish('firmware', version, { itemConfig: { runtimes: [{ codename: 'boot' }] } }),
    type: 'component',
  });
  const web = publisher.publish('web', '1');
  await carryOut(wanting(component('1.0.0'), web));
  expect(sm.running.get('firmware/subject/0')).toMatchObject({ version: '1.0.0', runtimeId: 'boot@main' });
  await carryOut(wanting(component('2.0.0'), web));
  expect(sm.running.get('firmware/subject/0')).toMatchObject({ version: '2.0.0', runtimeId: 'boot@main' });
  expect(unit.summary()).toEqual(['firmware/0 2.0.0 main active', 'web/0 1 main active']);
  expect(items()).toEqual(['firmware 1.0.0 removed', 'web 1 installed', 'firmware 2.0.0 installed']);
});
