/** Publishing: what lies at a path becomes an item version at the cloud. Loaded when it is asked for. */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AosError, asAosError, compareVersions } from '../../core/index.ts';
import type { Context } from '../context.ts';
import { printResult } from '../output.ts';
import { findAuthorFile, readAuthorFile } from './author/read-author-file.ts';
import { OciLayout } from './oci-layout.ts';
import { prepareAuthorItem } from './prepare-author-item.ts';
import { prepareLayout } from './prepare-layout.ts';
import type { PreparedItem } from './prepared-item.ts';
import type { ItemType } from './repack-image.ts';
import { uploadItem } from './upload-item.ts';
import { uploadReporter } from './upload-reporter.ts';

/** What the command line says of an item; it wins over what its author says. */
export interface PublishOptions {
  readonly id?: string;
  readonly version?: string;
  readonly title?: string;
  readonly config?: string;
  readonly type?: ItemType;
  readonly owner?: string;
  readonly tag?: string;
}

async function readConfig(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw asAosError(error, `cannot read the item configuration ${path}`);
  }
}

/** Uploads one item; the command line wins over what its author says. */
async function send(item: PreparedItem, options: PublishOptions, context: Context): Promise<void> {
  const { cloud, output, signal } = context;
  const id = options.id ?? item.id;
  const version = options.version ?? item.version;
  if (id === undefined || version === undefined) {
    const missing = id === undefined ? '--id' : '--version';
    throw new AosError('invalidArgument', `it is not said which item this is: give ${missing}`);
  }
  // Also tells whether it is one.
  compareVersions(version, version);
  for (const warning of item.warnings) output.note(`${id}: ${warning}`);
  const { type, index, documents, layers, read, imageCount, defaults } = item;
  const sent = await uploadItem(cloud, {
    ...{ id, version, type, index, documents, layers, read, defaults, signal },
    ...{ title: options.title ?? item.title, owner: options.owner },
    progress: uploadReporter(output),
  });
  const { digest } = index.descriptor;
  printResult(output, { id, version, type, indexDigest: digest, sentBlobs: sent, images: imageCount }, [
    `${id} ${version} is published: ${imageCount} image(s), ${sent} new blob(s), index ${digest}`,
  ]);
}

async function publishLayout(path: string, options: PublishOptions, context: Context): Promise<void> {
  const itemConfig = await readConfig(options.config);
  const layout = await OciLayout.open(path, context.signal);
  try {
    const type = options.type ?? 'service';
    await send(await prepareLayout(layout, { type, tag: options.tag, itemConfig }), options, context);
  } finally {
    await layout.close();
  }
}

async function publishAuthorFolder(
  folder: string,
  authorFile: string,
  options: PublishOptions,
  context: Context,
): Promise<void> {
  if (options.config !== undefined || options.type !== undefined) {
    throw new AosError('invalidArgument', `${authorFile} says type and configuration; leave out --type and --config`);
  }
  const items = await readAuthorFile(authorFile);
  if (items.length > 1 && (options.id ?? options.version ?? options.title) !== undefined) {
    throw new AosError(
      'invalidArgument',
      `${authorFile} has ${items.length} items; leave out --id, --version, --title`,
    );
  }
  const workDir = await mkdtemp(join(tmpdir(), 'aosctl-publish-'));
  try {
    for (const item of items) {
      await send(await prepareAuthorItem(item, folder, workDir, context.signal), options, context);
    }
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
}

/** Uploads what lies at a path; answers are printed by the output of the context. */
export async function publish(path: string, options: PublishOptions, context: Context): Promise<void> {
  const isFolder = existsSync(path) && (await stat(path)).isDirectory();
  const isLayout = !isFolder || existsSync(join(path, 'index.json'));
  const authorFile = isLayout ? undefined : findAuthorFile(path);
  if (authorFile === undefined) await publishLayout(path, options, context);
  else await publishAuthorFolder(path, authorFile, options, context);
}
