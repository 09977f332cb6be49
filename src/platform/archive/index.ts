/** Layers of images: from a packed archive to a directory. */
export { findLayerDamage, type LayerCheck, writeLayerList } from './layer-list.ts';
export type { LayerTree } from './layer-tree.ts';
export { showName } from './tar-header.ts';
export { type TarEntry, TarReader, type TarSink } from './tar-reader.ts';
export { unpackLayer } from './unpack-layer.ts';
export type { OverlayMarks, UnpackedLayer, UnpackLimits, UnpackRequest } from './unpack-model.ts';
export { makeWhiteOutFloor } from './white-out-floor.ts';
