/** A partition in memory. Its file system is a text: files as `path=content`, one in a line. */
import { AosError, throwIfCanceled } from '../../core/index.ts';
import type { Partition } from './partition.ts';

/** What is about to happen to it. */
export type PartitionEffect = 'write' | 'sync';

export class FakePartition implements Partition {
  readonly name: string;
  content: Buffer;
  busy: string | undefined;
  /** Runs before each piece is written, and at the end. */
  readonly #before: (effect: PartitionEffect) => void;

  constructor(name: string, content: Buffer, before: (effect: PartitionEffect) => void = () => undefined) {
    this.name = name;
    this.content = Buffer.from(content);
    this.#before = before;
  }

  async sizeBytes(): Promise<number> {
    return this.content.length;
  }

  async whyBusy(): Promise<string | undefined> {
    return this.busy;
  }

  async write(content: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    if (this.busy !== undefined) throw new AosError('wrongState', `it is not written: ${this.busy}`);
    let position = 0;
    for await (const chunk of content) {
      throwIfCanceled(signal);
      if (position + chunk.length > this.content.length) {
        throw new AosError('noMemory', `${this.name} has ${this.content.length} bytes, the content has more`);
      }
      this.#before('write');
      this.content.set(chunk, position);
      position += chunk.length;
    }
    this.#before('sync');
  }

  async *read(bytes: number, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    throwIfCanceled(signal);
    if (bytes > this.content.length) throw new AosError('eof', `${this.name} ends after ${this.content.length} bytes`);
    yield Buffer.from(this.content.subarray(0, bytes));
  }

  async readText(path: string): Promise<string> {
    const line = this.content
      .toString('utf8')
      .split(/[\n\0]/)
      .find((text) => text.startsWith(`${path}=`));
    if (line === undefined) throw new AosError('notFound', `cannot read ${path} in ${this.name}`);
    return `${line.slice(path.length + 1)}\n`;
  }
}
