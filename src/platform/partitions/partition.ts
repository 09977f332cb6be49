/** A partition that is written and read as a whole (spec/sm.md 6.7, 6.8). */
export interface Partition {
  /** For people: the device. */
  readonly name: string;
  sizeBytes(signal: AbortSignal): Promise<number>;
  /** What keeps it from being written, for people; undefined: nothing. */
  whyBusy(): Promise<string | undefined>;
  /**
   * Writes from the beginning; what lies behind stays. On return it is on the medium. Throws `wrongState` when it is in
   * use, `noMemory` when the content is longer than the partition, `canceled`, or what the medium fails with.
   */
  write(content: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>;
  /** The first bytes, from the medium. */
  read(bytes: number, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Beginning of a file in its file system, which is mounted read-only meanwhile. Throws `notFound`, `runtime`. */
  readText(path: string, signal: AbortSignal): Promise<string>;
}
