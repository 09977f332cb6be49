/** An item as its author describes it, whatever the generation of the file (spec/product.md 4). */
import type { ItemType } from '../repack-image.ts';

export interface AuthorPlatform {
  readonly architecture: string;
  readonly variant?: string | undefined;
  readonly os: string;
}

export interface AuthorImage {
  readonly platform: AuthorPlatform;
  /** Where the files may lie, relative to the author's folder; the first that exists is meant. */
  readonly folders: readonly string[];
  /** A ready image instead of a folder, with its media type; for components. */
  readonly file?: { readonly path: string; readonly mediaType: string } | undefined;
  /** The `config` member of the image configuration. */
  readonly config: Readonly<Record<string, unknown>>;
}

export interface AuthorItem {
  /** Absent: the command line must say it. */
  readonly id?: string | undefined;
  readonly version?: string | undefined;
  readonly title?: string | undefined;
  readonly type: ItemType;
  readonly images: readonly AuthorImage[];
  readonly itemConfig: Readonly<Record<string, unknown>>;
  /** What a deployment gets that says nothing else. */
  readonly defaults: DeploymentDefaults;
  /** What is in the file and does not arrive at the unit. */
  readonly warnings: readonly string[];
}

export interface DeploymentDefaults {
  readonly numInstances?: number | undefined;
  readonly priority?: number | undefined;
  readonly labels?: readonly string[] | undefined;
}
