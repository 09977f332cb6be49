/** Image archives of Docker's older form (`docker save`, skopeo's `docker-archive`), brought to an OCI layout. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { AosError, asAosError, parseJson, readDocument } from '../../core/index.ts';
import { type Descriptor, MEDIA_TYPES } from '../../oci/index.ts';

/** The file that lists the images of such an archive. */
export const DOCKER_MANIFEST = 'manifest.json';
const MEMBER = /^(?:manifest\.json|[0-9a-f]{64}\.(?:json|tar)|[0-9a-f]{64}\/layer\.tar)$/;
const REF_NAME = 'org.opencontainers.image.ref.name';

const DockerManifest = z.array(
  z.object({ Config: z.string(), RepoTags: z.array(z.string()).default([]), Layers: z.array(z.string()).default([]) }),
);

/** The name under which a member of such an archive is unpacked; undefined for what is not needed. */
export function dockerMember(name: string): string | undefined {
  return MEMBER.test(name) ? name.replace('/', '-') : undefined;
}

/** Turns the unpacked members into blobs and writes the index. Throws `invalidArgument` naming what is missing. */
export async function convertDockerArchive(directory: string, name: string): Promise<void> {
  const text = await readFile(join(directory, DOCKER_MANIFEST), 'utf8');
  const { value: images } = readDocument(DockerManifest, parseJson(text, `${name}: ${DOCKER_MANIFEST}`), {
    what: `${name}: ${DOCKER_MANIFEST}`,
  });
  const blobs = new Map<string, Descriptor>();
  const adopt = async (member: string, mediaType: string): Promise<Descriptor> => {
    const known = blobs.get(member);
    if (known) return known;
    const descriptor = await moveToBlobs(directory, member, mediaType, name);
    blobs.set(member, descriptor);
    return descriptor;
  };
  const manifests = [];
  for (const { Config, RepoTags, Layers } of images) {
    const layers = [];
    for (const layer of Layers) layers.push(await adopt(layer, MEDIA_TYPES.layerTar));
    const config = await adopt(Config, MEDIA_TYPES.imageConfig);
    const manifest = JSON.stringify({ schemaVersion: 2, config, layers });
    const hex = createHash('sha256').update(manifest).digest('hex');
    await writeFile(join(directory, 'blobs', 'sha256', hex), manifest);
    const size = Buffer.byteLength(manifest);
    const entry = { mediaType: MEDIA_TYPES.imageManifest, digest: `sha256:${hex}`, size };
    const tags = RepoTags.length === 0 ? [undefined] : RepoTags;
    manifests.push(...tags.map((tag) => (tag === undefined ? entry : { ...entry, annotations: { [REF_NAME]: tag } })));
  }
  await writeFile(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
}

async function moveToBlobs(directory: string, member: string, mediaType: string, name: string): Promise<Descriptor> {
  const unpacked = dockerMember(member);
  if (unpacked === undefined) throw new AosError('invalidArgument', `${name}: "${member}" is no file of an image`);
  const path = join(directory, unpacked);
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) hash.update(chunk);
  } catch (error) {
    if (asAosError(error).code !== 'notFound') throw error;
    throw new AosError('invalidArgument', `${name} has no file ${member}, which its ${DOCKER_MANIFEST} names`);
  }
  const hex = hash.digest('hex');
  const { size } = await stat(path);
  await rename(path, join(directory, 'blobs', 'sha256', hex));
  return { mediaType, digest: `sha256:${hex}`, size };
}
