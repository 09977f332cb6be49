/** Items from an author's folder: each image is one layer. */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { AosError } from '../../core/index.ts';
import { type Descriptor, MEDIA_TYPES } from '../../oci/index.ts';
import type { AuthorImage, AuthorItem } from './author/author-item.ts';
import { packFolder } from './author/pack-folder.ts';
import type { PreparedItem } from './prepared-item.ts';
import { imageIndexOf, itemConfigFor, repackImage } from './repack-image.ts';

interface BuiltLayer {
  readonly descriptor: Descriptor;
  readonly diffId: string;
  readonly file: string;
}

/** Packs the folders of all images into `workDir`. Throws `invalidArgument` naming what is missing or wrong. */
export async function prepareAuthorItem(
  item: AuthorItem,
  folder: string,
  workDir: string,
  signal: AbortSignal,
): Promise<PreparedItem> {
  const itemConfig = itemConfigFor(item.type, JSON.stringify(item.itemConfig));
  const layers = new Map<string, BuiltLayer>();
  const images = [];
  for (const image of item.images) {
    const file = join(workDir, `${item.id ?? 'item'}-${images.length}.layer`.replaceAll('/', '-'));
    const layer = image.file ? await readyLayer(image.file, folder) : await packImage(image, folder, file, signal);
    layers.set(layer.descriptor.digest, layer);
    const { architecture, variant, os } = image.platform;
    const config = {
      ...{ architecture, ...(variant !== undefined && { variant }), os, config: image.config },
      rootfs: { type: 'layers', diff_ids: [layer.diffId] },
    };
    const configText = JSON.stringify(config);
    const manifest = { schemaVersion: 2, config: placeholder(configText), layers: [layer.descriptor] };
    images.push(repackImage(item.type, JSON.stringify(manifest), configText, itemConfig));
  }
  const { id, version, title, type, defaults } = item;
  return {
    ...{ id, version, title, type, defaults, index: imageIndexOf(images), imageCount: images.length },
    documents: [itemConfig.document, ...images.flatMap((image) => [image.imageConfig, image.manifest])],
    layers: [...layers.values()].map(({ descriptor }) => descriptor),
    warnings: [...item.warnings, ...itemConfig.warnings],
    read: (digest): Readable => createReadStream(layers.get(digest)!.file),
  };
}

/** The manifest that is read needs a descriptor; the one that is written has its own. */
function placeholder(configText: string): Descriptor {
  const digest = `sha256:${createHash('sha256').update(configText).digest('hex')}`;
  return { mediaType: MEDIA_TYPES.imageConfig, digest, size: Buffer.byteLength(configText) };
}

async function packImage(image: AuthorImage, folder: string, file: string, signal: AbortSignal): Promise<BuiltLayer> {
  const places = [...new Set(image.folders.map((place) => join(folder, place)))];
  const source = places.find((place) => existsSync(place));
  if (source === undefined) {
    throw new AosError('invalidArgument', `the files of an image are missing; expected one of ${places.join(', ')}`);
  }
  const { digest, diffId, sizeBytes } = await packFolder(source, file, signal);
  return { descriptor: { mediaType: MEDIA_TYPES.layerTarGzip, digest, size: sizeBytes }, diffId, file };
}

async function readyLayer(ready: NonNullable<AuthorImage['file']>, folder: string): Promise<BuiltLayer> {
  const file = join(folder, ready.path);
  if (!existsSync(file)) throw new AosError('invalidArgument', `the image ${file} does not exist`);
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) hash.update(chunk);
  const digest = `sha256:${hash.digest('hex')}`;
  return { descriptor: { mediaType: ready.mediaType, digest, size: (await stat(file)).size }, diffId: digest, file };
}
