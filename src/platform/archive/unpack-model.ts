/** What unpacking a layer takes and gives. */
import type { Digest } from '../../core/index.ts';
import type { LayerTree } from './layer-tree.ts';

/** What an overlay needs and Node.js cannot make; `platform/mount` can. */
export interface OverlayMarks {
  /** Path of a character device 0:0 on the file system of the layer, to be hard-linked. */
  whiteOut(signal: AbortSignal): Promise<string>;
  /** Creates empty directories below `parent` that hide what lies below them. */
  opaqueDirectories(parent: string, count: number, signal: AbortSignal): Promise<string[]>;
  fifos(paths: readonly string[], signal: AbortSignal): Promise<void>;
}

export interface UnpackRequest {
  /** The packed layer: tar, plain or compressed by gzip or zstd; told by its first bytes. */
  readonly file: string;
  /** What the packed file must be. */
  readonly digest: Digest;
  /** A directory that does not exist; its parent does. */
  readonly into: string;
  readonly marks: OverlayMarks;
  readonly signal: AbortSignal;
  /** Hears how many bytes of content were written so far; an exception ends the work. */
  readonly onBytes?: ((totalBytes: number) => void) | undefined;
  readonly limits?: Partial<UnpackLimits> | undefined;
}

export interface UnpackLimits {
  readonly maxEntries: number;
  /** Allowed whatever the ratio of plain to packed size is. */
  readonly alwaysAllowedBytes: number;
  readonly maxRatio: number;
}

export interface UnpackedLayer {
  readonly tree: LayerTree;
  /** Digest of the plain tar. */
  readonly diffId: Digest;
  /** Content of all files. */
  readonly sizeBytes: number;
}
