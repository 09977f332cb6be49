/** Items made on the spot, and a CM that serves them from files. */
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';
import { type Digest, digestOf } from '../../core/index.ts';
import type { WantedItem } from './read-item.ts';

/** One entry of a layer; `content` makes it a file. */
export type Entry = Partial<Header> & { readonly name: string; readonly content?: string | Buffer };

export interface ImageForTests {
  /** Layers in the order of the manifest. */
  readonly layers: readonly (readonly Entry[])[];
  readonly itemConfig?: Record<string, unknown>;
  readonly imageConfig?: Record<string, unknown>;
  readonly mediaType?: string;
}

export async function tarOf(entries: readonly Entry[]): Promise<Buffer> {
  const archive = pack();
  for (const { content, ...header } of entries) {
    archive.entry({ mtime: new Date(1_700_000_000_000), ...header } as Header, content ?? '');
  }
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** `/bin` with busybox and some of its applets as links. */
export function busyboxEntries(): Entry[] {
  return [
    { name: 'bin/', type: 'directory', mode: 0o755 },
    { name: 'bin/busybox', mode: 0o755, content: readFileSync('/bin/busybox') },
    ...['sh', 'cat', 'ls', 'sleep'].map(
      (name): Entry => ({ name: `bin/${name}`, type: 'symlink', linkname: 'busybox' }),
    ),
  ];
}

/** Blobs in a directory of their own, which a test removes by `close`. */
export class BlobSource {
  readonly directory: string;
  /** Digests that were asked for, in order. */
  readonly asked: Digest[] = [];
  /** Does not offer these. */
  readonly withheld = new Set<Digest>();

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async create(): Promise<BlobSource> {
    return new BlobSource(await mkdtemp(join(tmpdir(), 'aos-blobs-')));
  }

  async put(content: string | Buffer): Promise<{ digest: Digest; size: number }> {
    const digest = digestOf(content);
    await mkdir(this.directory, { recursive: true });
    await writeFile(this.#path(digest), content);
    return { digest, size: Buffer.byteLength(content) };
  }

  /** Replaces what is served under a digest. */
  async spoil(digest: Digest, content: string | Buffer): Promise<void> {
    await writeFile(this.#path(digest), content);
  }

  readonly blobUrls = async (digests: readonly Digest[]): Promise<string[]> => {
    this.asked.push(...digests);
    return digests
      .filter((digest) => !this.withheld.has(digest))
      .map((digest) => pathToFileURL(this.#path(digest)).href);
  };

  /** Publishes a service. */
  async service(
    itemId: string,
    version: string,
    image: ImageForTests,
  ): Promise<WantedItem & { layerDigests: Digest[] }> {
    const layers = [];
    const diffIds = [];
    for (const entries of image.layers) {
      const tar = await tarOf(entries);
      diffIds.push(digestOf(tar));
      layers.push({
        mediaType: image.mediaType ?? 'application/vnd.oci.image.layer.v1.tar+gzip',
        ...(await this.put(gzipSync(tar))),
      });
    }
    const config = await this.put(
      JSON.stringify({
        architecture: 'amd64',
        os: 'linux',
        config: { Cmd: ['/bin/sh'] },
        rootfs: { type: 'layers', diff_ids: diffIds },
        ...image.imageConfig,
      }),
    );
    const aosItemConfig = await this.put(JSON.stringify({ runtimes: [{ codename: 'crun' }], ...image.itemConfig }));
    const manifest = await this.put(JSON.stringify({ schemaVersion: 2, config, aosItemConfig, layers, version }));
    const layerDigests = layers.map(({ digest }) => digest);
    return { itemId, type: 'service', version, manifestDigest: manifest.digest, layerDigests };
  }

  /** Publishes a component of opaque files. */
  async component(itemId: string, version: string, files: readonly Buffer[]): Promise<WantedItem> {
    const layers = [];
    for (const file of files) {
      layers.push({ mediaType: 'application/vnd.aos.image.component.full.v1+squashfs', ...(await this.put(file)) });
    }
    const config = await this.put(JSON.stringify({ architecture: 'amd64' }));
    const manifest = await this.put(JSON.stringify({ schemaVersion: 2, config, layers }));
    return { itemId, type: 'component', version, manifestDigest: manifest.digest };
  }

  async close(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }

  #path(digest: Digest): string {
    return join(this.directory, digest.replace(':', '-'));
  }
}
