/** Items on this node: documents, unpacked layers of services, files of components. */
export { ImageStore, type ImageStoreOptions } from './image-store.ts';
export { IMAGE_TABLES } from './item-records.ts';
export { type LayerInfo, readLayerInfo } from './layer-store.ts';
export type { WantedItem } from './read-item.ts';
