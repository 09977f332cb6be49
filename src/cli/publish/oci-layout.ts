/** Reading of OCI image layouts: a folder, or an archive of one, or of Docker's older form. */
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { AosError, asAosError, type Digest, digestOf, parseDigest } from '../../core/index.ts';
import { convertDockerArchive, DOCKER_MANIFEST, dockerMember } from './docker-archive.ts';

const MAX_DOCUMENT_BYTES = 1024 * 1024;
/** What an archive of a layout holds; everything else in it, but for Docker's files, is passed over. */
const MEMBER = /^(?:\.\/)?(index\.json|oci-layout|blobs\/sha256\/[0-9a-f]{64})$/;
const GZIP_MAGIC = 0x1f8b;

/** Where a member of an archive is unpacked; only names of a known form become paths. */
function memberOf(name: string): string | undefined {
  return MEMBER.exec(name)?.[1] ?? dockerMember(name);
}

export class OciLayout {
  /** As the user named it. */
  readonly name: string;
  readonly #directory: string;
  readonly #isTemporary: boolean;

  private constructor(name: string, directory: string, isTemporary: boolean) {
    this.name = name;
    this.#directory = directory;
    this.#isTemporary = isTemporary;
  }

  /** Opens a folder or an archive (tar, also gzipped). Throws `invalidArgument` when it is no layout. */
  static async open(path: string, signal: AbortSignal): Promise<OciLayout> {
    if (!existsSync(path)) throw new AosError('invalidArgument', `${path} does not exist`);
    const isFolder = (await stat(path)).isDirectory();
    const layout = isFolder ? new OciLayout(path, path, false) : await OciLayout.#unpack(path, signal);
    if (existsSync(join(layout.#directory, 'index.json'))) return layout;
    await layout.close();
    throw new AosError(
      'invalidArgument',
      `${path} is no OCI image layout: it has no index.json${isFolder ? ', and no config.yaml of an author either' : ''}`,
    );
  }

  static async #unpack(path: string, signal: AbortSignal): Promise<OciLayout> {
    const directory = await mkdtemp(join(tmpdir(), 'aosctl-image-'));
    const layout = new OciLayout(path, directory, true);
    try {
      await mkdir(join(directory, 'blobs', 'sha256'), { recursive: true });
      const archive = extract();
      archive.on('entry', (header, content, next) => {
        const member = header.type === 'file' ? memberOf(header.name) : undefined;
        const write = member
          ? pipeline(content, createWriteStream(join(directory, member)))
          : pipeline(content, async (rest) => {
              for await (const _ of rest) signal.throwIfAborted();
            });
        write.then(() => next(), next);
      });
      const bytes = createReadStream(path);
      if (await isGzip(path)) await pipeline(bytes, createGunzip(), archive, { signal });
      else await pipeline(bytes, archive, { signal });
      if (!existsSync(join(directory, 'index.json')) && existsSync(join(directory, DOCKER_MANIFEST))) {
        await convertDockerArchive(directory, path);
      }
    } catch (error) {
      await layout.close();
      const text = `cannot read the image archive ${path}: ${asAosError(error).message}`;
      throw new AosError('invalidArgument', text, { cause: error });
    }
    return layout;
  }

  async readIndex(): Promise<string> {
    return readFile(join(this.#directory, 'index.json'), 'utf8');
  }

  /** A document. Throws when it is missing, too large, or not the content of its digest. */
  async readDocument(digest: Digest): Promise<string> {
    const size = await this.size(digest);
    if (size > MAX_DOCUMENT_BYTES) {
      throw new AosError(
        'invalidArgument',
        `${this.name}: document ${digest} has ${size} bytes, expected at most 1 MiB`,
      );
    }
    const content = await readFile(this.#path(digest));
    if (digestOf(content) !== digest) {
      throw new AosError('invalidArgument', `${this.name}: the content of ${digest} is ${digestOf(content)}`);
    }
    return content.toString('utf8');
  }

  /** Bytes of a blob. Throws `invalidArgument` when the layout does not have it. */
  async size(digest: Digest): Promise<number> {
    try {
      return (await stat(this.#path(digest))).size;
    } catch (error) {
      if (asAosError(error).code !== 'notFound') throw asAosError(error, `cannot read ${this.name}`);
      throw new AosError('invalidArgument', `${this.name} has no blob ${digest}`, { cause: error });
    }
  }

  read(digest: Digest): Readable {
    return createReadStream(this.#path(digest));
  }

  async close(): Promise<void> {
    if (this.#isTemporary) await rm(this.#directory, { recursive: true, force: true });
  }

  #path(digest: Digest): string {
    return join(this.#directory, 'blobs', 'sha256', parseDigest(digest).hex);
  }
}

async function isGzip(path: string): Promise<boolean> {
  for await (const chunk of createReadStream(path, { end: 1 }) as AsyncIterable<Buffer>) {
    return chunk.length === 2 && chunk.readUInt16BE(0) === GZIP_MAGIC;
  }
  return false;
}
