/** Where encrypted blobs lie. Names are made by the vault: 36 characters of a random UUID. */
import type { Readable } from 'node:stream';

export interface BlobFiles {
  /**
   * Takes the content of the complete file at `path` under a name; it is durable when this resolves. The file itself may
   * be gone then. Repeating it changes nothing.
   */
  put(name: string, path: string): Promise<void>;

  /**
   * The bytes from `start` to `end`, both included. Throws `notFound`, at once or when the first bytes are read; a
   * stream that cannot go on ends with an error, never early.
   */
  read(name: string, start: number, end: number): Promise<Readable>;

  /** What is not there need not be removed. */
  remove(name: string): Promise<void>;

  /**
   * Called once at the start with the blobs that lie in `directory`, the place of those of a cloud that has no other
   * one: the store takes them if it keeps its blobs elsewhere.
   */
  adopt(directory: string, names: readonly string[]): Promise<void>;
}
