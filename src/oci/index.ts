/** What an item consists of: the schema is the type (spec/oci-items.md). */
export * from './alert-rules.ts';
export * from './image-config.ts';
export * from './image-index.ts';
export * from './image-manifest.ts';
export * from './item-config.ts';
export * from './layer-order.ts';
export * from './media-types.ts';
export * from './parse.ts';
export * from './ports.ts';
