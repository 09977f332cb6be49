/** Media types of items (spec/oci-items.md 2, spec/decisions.md T-12). */
export const MEDIA_TYPES = {
  imageIndex: 'application/vnd.oci.image.index.v1+json',
  imageManifest: 'application/vnd.oci.image.manifest.v1+json',
  imageConfig: 'application/vnd.oci.image.config.v1+json',
  itemConfig: 'application/vnd.aos.item.config.v1+json',
  empty: 'application/vnd.oci.empty.v1+json',
  layerTar: 'application/vnd.oci.image.layer.v1.tar',
  layerTarGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  layerTarZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  dockerLayerTarGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerManifestList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  componentFullGzip: 'application/vnd.aos.image.component.full.v1+gzip',
  componentFullSquashfs: 'application/vnd.aos.image.component.full.v1+squashfs',
  componentIncrementSquashfs: 'application/vnd.aos.image.component.inc.v1+squashfs',
} as const;

const SERVICE_LAYERS: ReadonlySet<string> = new Set([
  MEDIA_TYPES.layerTar,
  MEDIA_TYPES.layerTarGzip,
  MEDIA_TYPES.layerTarZstd,
  MEDIA_TYPES.dockerLayerTarGzip,
]);

/** True for a tar that a node can unpack as a layer of a service. */
export function isServiceLayer(mediaType: string): boolean {
  return SERVICE_LAYERS.has(mediaType);
}
