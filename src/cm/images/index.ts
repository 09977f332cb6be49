/** Items and their blobs on the unit. */

export * from './blob-address.ts';
export * from './blob-server.ts';
export * from './blob-source.ts';
export * from './download-alert.ts';
export { DownloadDiary } from './download-diary.ts';
export type { DownloadReport } from './download-report.ts';
export { ImageManager, type ItemReader } from './image-manager.ts';
export type { ItemDocuments, ManifestDocuments } from './item-documents.ts';
export { IMAGE_TABLES } from './item-rows.ts';
export * from './open-images.ts';
export type { WantedItem } from './plan-items.ts';
export { hostDisk, SpaceKeeper } from './space.ts';
