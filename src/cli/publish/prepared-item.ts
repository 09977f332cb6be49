/** An item that is ready for upload. */
import type { Readable } from 'node:stream';
import type { Descriptor } from '../../oci/index.ts';
import type { DeploymentDefaults } from './author/author-item.ts';
import type { Document, ItemType } from './repack-image.ts';

export interface PreparedItem {
  /** As its author says; the command line may say otherwise. */
  readonly id?: string | undefined;
  readonly version?: string | undefined;
  readonly title?: string | undefined;
  readonly type: ItemType;
  readonly index: Document;
  readonly documents: readonly Document[];
  readonly layers: readonly Descriptor[];
  readonly imageCount: number;
  readonly defaults: DeploymentDefaults;
  readonly warnings: readonly string[];
  /** The content of a layer. */
  readonly read: (digest: string) => Readable;
}
