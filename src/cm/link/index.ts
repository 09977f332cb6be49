/** The connection to the cloud. */
export { CloudLink, type CloudLinkOptions } from './cloud-link.ts';
export type { DiscoveryConfig } from './discovery.ts';
export type {
  CloudLinkApi,
  HandledType,
  Handler,
  LinkReport,
  LinkState,
  Received,
  SendOptions,
} from './model.ts';
export { LINK_TABLES, type OutboxStore, SqliteOutboxStore } from './outbox-store.ts';
