/** OCI layouts of components: one layer, and an image configuration that says for which nodes it is. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf } from '../../src/core/index.ts';

export interface ComponentLayer {
  readonly mediaType: string;
  readonly content: Buffer;
}

const PLATFORM = { architecture: process.arch === 'x64' ? 'amd64' : process.arch, os: 'linux' };
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

export async function writeComponent(directory: string, { mediaType, content }: ComponentLayer): Promise<void> {
  const blobs = join(directory, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const put = async (type: string, bytes: Buffer) => {
    const digest = digestOf(bytes);
    await writeFile(join(blobs, digest.slice('sha256:'.length)), bytes);
    return { mediaType: type, digest, size: bytes.length };
  };
  const putJson = (type: string, value: unknown) => put(type, Buffer.from(JSON.stringify(value)));
  const layer = await put(mediaType, content);
  const config = await putJson('application/vnd.oci.image.config.v1+json', PLATFORM);
  const manifest = await putJson(MANIFEST, { schemaVersion: 2, mediaType: MANIFEST, config, layers: [layer] });
  await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const index = { schemaVersion: 2, manifests: [{ ...manifest, platform: PLATFORM }] };
  await writeFile(join(directory, 'index.json'), JSON.stringify(index));
}
