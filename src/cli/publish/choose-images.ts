/** Which images of a layout are meant: one per platform. */
import { AosError } from '../../core/index.ts';
import { type ImageIndex, MEDIA_TYPES, parseImageIndex } from '../../oci/index.ts';

type Entry = ImageIndex['manifests'][number];

export interface ChosenImage {
  readonly digest: string;
}

const REF_NAME = 'org.opencontainers.image.ref.name';
/** Builders put statements about an image beside it; they are no images. */
const ATTESTATION = 'vnd.docker.reference.type';

const isIndex = ({ mediaType }: Entry) =>
  mediaType === MEDIA_TYPES.imageIndex || mediaType === MEDIA_TYPES.dockerManifestList;

/** Reads the documents of indexes inside of the index. */
export type ReadIndex = (digest: string) => Promise<string>;

/**
 * The images of a layout, in the order of its index, which is the order of preference. With several tags one must be
 * named. Throws `invalidArgument` saying what there is.
 */
export async function chooseImages(
  indexText: string,
  tag: string | undefined,
  read: ReadIndex,
): Promise<ChosenImage[]> {
  const top = parseImageIndex(indexText).manifests.filter(isImage);
  const tags = [...new Set(top.flatMap((entry) => entry.annotations?.[REF_NAME] ?? []))];
  if (tag !== undefined && !tags.includes(tag)) {
    throw new AosError('invalidArgument', `the image has no tag "${tag}"; it has ${tags.join(', ') || 'none'}`);
  }
  if (tag === undefined && tags.length > 1) {
    throw new AosError('invalidArgument', `the image has several tags; choose one with --tag: ${tags.join(', ')}`);
  }
  const meant = top.filter((entry) => tag === undefined || entry.annotations?.[REF_NAME] === tag);
  const images: ChosenImage[] = [];
  for (const entry of meant) {
    if (!isIndex(entry)) images.push({ digest: entry.digest });
    else {
      const inner = parseImageIndex(await read(entry.digest)).manifests.filter(isImage);
      images.push(...inner.map(({ digest }) => ({ digest })));
    }
  }
  if (images.length === 0) throw new AosError('invalidArgument', 'the index of the image names no manifest');
  return images;
}

const isImage = (entry: Entry): boolean =>
  entry.annotations?.[ATTESTATION] === undefined && entry.platform?.os !== 'unknown';
