/** A process of its own that installs or removes an item, to be killed at a fault point: `node … <settings as JSON>`. */
import { pathToFileURL } from 'node:url';
import { silentLogger } from '../../core/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { ImageStore } from './image-store.ts';
import { IMAGE_TABLES } from './item-records.ts';
import type { WantedItem } from './read-item.ts';

export interface Settings {
  readonly imagePath: string;
  readonly databasePath: string;
  /** Holds blobs named `sha256-<hex>`. */
  readonly blobDir: string;
  readonly install: WantedItem;
  /** Installed and removed before. */
  readonly remove?: WantedItem;
}

const [, , text = ''] = process.argv;
const settings = JSON.parse(text) as Settings;
const signal = new AbortController().signal;
const database = await openDatabase(settings.databasePath, [IMAGE_TABLES], silentLogger);
const store = await ImageStore.open({
  imagePath: settings.imagePath,
  database,
  blobUrls: async (digests) =>
    digests.map((digest) => pathToFileURL(`${settings.blobDir}/${digest.replace(':', '-')}`).href),
  logger: silentLogger,
  itemTtlMs: -1,
});
if (settings.remove) {
  store.remove(settings.remove.itemId, settings.remove.version);
  await store.cleanUp(signal);
}
await store.install(settings.install, signal);
await store.cleanUp(signal);
await store.stop();
database.close();
