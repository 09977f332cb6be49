/** OCI layouts made on the spot: a busybox with a few files, and layers that nobody should unpack. */
import { createHash } from 'node:crypto';
import { createWriteStream, readFileSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { gzipSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';
import { digestOf } from '../../src/core/index.ts';

/** One entry of a layer; `content` makes it a file. */
export type Entry = Partial<Header> & { readonly name: string } & { readonly content?: string | Buffer };

export interface ImageOptions {
  /** What the container runs. */
  readonly cmd: readonly string[];
  /** Layers, the lowest first. Default: busybox alone. */
  readonly layers?: readonly (readonly Entry[])[];
  readonly env?: readonly string[];
  /** More of its `config`, in the names of OCI. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** What the image says to be made for, one manifest each, with `ARCHITECTURE` in its environment. Default: this host. */
  readonly architectures?: readonly string[];
  /** Layers are plain tars, which deltas are good for. */
  readonly plainLayers?: boolean;
  /** One more layer with a file `zeros` of so many bytes, as a plain tar that is never in memory as a whole. */
  readonly zeroBytes?: number;
}

const ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch;

/** A user land of one file: `/bin/busybox` and links to it. */
export function busyboxLayer(): Entry[] {
  const applets = ['sh', 'sleep', 'cat', 'echo', 'trap', 'date', 'kill', 'ls', 'nc', 'mkdir', 'true', 'false'];
  return [
    { name: 'bin/', type: 'directory', mode: 0o755 },
    { name: 'bin/busybox', mode: 0o755, content: readFileSync('/bin/busybox') },
    ...applets.map((name): Entry => ({ name: `bin/${name}`, type: 'symlink', linkname: 'busybox', mode: 0o777 })),
    { name: 'tmp/', type: 'directory', mode: 0o1777 },
    { name: 'etc/', type: 'directory', mode: 0o755 },
  ];
}

/** Bytes that do not compress, the same for the same seed. */
export function noise(sizeBytes: number, seed: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  let state = (seed + 1) * 2_654_435_761;
  for (let index = 0; index + 4 <= sizeBytes; index += 4) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes.writeInt32LE(state | 0, index);
  }
  return bytes;
}

async function tarOf(entries: readonly Entry[]): Promise<Buffer> {
  const archive = pack();
  for (const { content, ...header } of entries) {
    archive.entry({ mtime: new Date(0), ...header }, content ?? '');
  }
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Writes `zeros.tar` with one file of so many bytes. */
async function writeZeros(directory: string, sizeBytes: number): Promise<{ digest: string; size: number }> {
  const archive = pack();
  const entry = archive.entry({ name: 'zeros', size: sizeBytes, mtime: new Date(0) });
  const pieces = function* () {
    const piece = Buffer.alloc(1024 * 1024);
    for (let at = 0; at < sizeBytes; at += piece.length)
      yield piece.subarray(0, Math.min(piece.length, sizeBytes - at));
  };
  const hash = createHash('sha256');
  let size = 0;
  const observed = async function* (chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      hash.update(chunk);
      size += chunk.length;
      yield chunk;
    }
  };
  const written = pipeline(archive as AsyncIterable<Buffer>, observed, createWriteStream(join(directory, 'zeros.tar')));
  await pipeline(pieces, entry);
  archive.finalize();
  await written;
  return { digest: `sha256:${hash.digest('hex')}`, size };
}

/** Makes the directory of blobs, and what puts one there. */
async function blobsOf(directory: string) {
  const blobs = join(directory, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const put = async (content: Buffer, mediaType: string) => {
    const digest = digestOf(content);
    await writeFile(join(blobs, digest.slice('sha256:'.length)), content);
    return { mediaType, digest, size: content.length };
  };
  return { blobs, put };
}

/** Writes an OCI layout; answers its directory. */
export async function writeImage(directory: string, options: ImageOptions): Promise<string> {
  const { blobs, put } = await blobsOf(directory);
  const putJson = (value: unknown, mediaType: string) => put(Buffer.from(JSON.stringify(value)), mediaType);

  const layers = [];
  const diffIds = [];
  for (const entries of options.layers ?? [busyboxLayer()]) {
    const tar = await tarOf(entries);
    diffIds.push(digestOf(tar));
    const layerType = 'application/vnd.oci.image.layer.v1.tar';
    layers.push(await (options.plainLayers ? put(tar, layerType) : put(gzipSync(tar), `${layerType}+gzip`)));
  }
  if (options.zeroBytes !== undefined) {
    const { digest, size } = await writeZeros(directory, options.zeroBytes);
    await rename(join(directory, 'zeros.tar'), join(blobs, digest.slice('sha256:'.length)));
    diffIds.push(digest);
    layers.push({ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size });
  }
  const manifestType = 'application/vnd.oci.image.manifest.v1+json';
  const manifests = [];
  for (const architecture of options.architectures ?? [ARCHITECTURE]) {
    const env = [...(options.env ?? []), ...(options.architectures ? [`ARCHITECTURE=${architecture}`] : [])];
    const config = await putJson(
      {
        architecture,
        os: 'linux',
        config: { Entrypoint: [...options.cmd], Env: env, WorkingDir: '/', ...options.config },
        rootfs: { type: 'layers', diff_ids: diffIds },
      },
      'application/vnd.oci.image.config.v1+json',
    );
    const manifest = await putJson({ schemaVersion: 2, mediaType: manifestType, config, layers }, manifestType);
    manifests.push({ ...manifest, platform: { architecture, os: 'linux' } });
  }
  await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  return directory;
}

/** Writes an OCI layout with a component for a boot slot of this host, and `item.json` beside it; answers its directory. */
export async function writeFirmware(directory: string, image: Buffer, runtimeType: string): Promise<string> {
  const { put } = await blobsOf(directory);
  const json = (value: object) => Buffer.from(JSON.stringify(value));
  const config = await put(
    json({ architecture: ARCHITECTURE, os: 'linux' }),
    'application/vnd.oci.image.config.v1+json',
  );
  const layers = [await put(image, 'application/vnd.aos.image.component.full.v1+gzip')];
  const manifest = await put(json({ schemaVersion: 2, config, layers }), 'application/vnd.oci.image.manifest.v1+json');
  await writeFile(join(directory, 'index.json'), json({ schemaVersion: 2, manifests: [manifest] }));
  await writeFile(join(directory, 'item.json'), json({ runtimes: [{ codename: runtimeType }] }));
  return directory;
}
