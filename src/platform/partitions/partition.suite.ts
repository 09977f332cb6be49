/** What every `Partition` must do; real ones and the fake pass the same. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Partition } from './partition.ts';

export const SUITE_BYTES = 3 * 1024 * 1024;

export interface PartitionBench {
  /** Of `SUITE_BYTES`, filled with zeros or a file system. */
  readonly partition: Partition;
  close(): Promise<void> | void;
}

async function* piecesOf(...contents: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const content of contents) yield content;
}

async function all(content: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content) pieces.push(piece);
  return Buffer.concat(pieces);
}

export function partitionSuite(name: string, make: () => Promise<PartitionBench>): void {
  describe(name, () => {
    const signal = new AbortController().signal;
    let bench: PartitionBench;
    let partition: Partition;
    beforeEach(async () => {
      bench = await make();
      partition = bench.partition;
    });
    afterEach(() => bench.close());

    test('[SM-44] its size is known', async () => {
      expect(await partition.sizeBytes(signal)).toBe(SUITE_BYTES);
      expect(await partition.whyBusy()).toBeUndefined();
    });

    test('[SM-44] what was written is read, and what lies behind stays', async () => {
      await partition.write(piecesOf(Buffer.alloc(SUITE_BYTES, 7)), signal);
      await partition.write(piecesOf(Buffer.from('one'), Buffer.alloc(1_500_001, 1), Buffer.from('two')), signal);
      const content = await all(partition.read(SUITE_BYTES, signal));
      const expected = Buffer.concat([Buffer.from('one'), Buffer.alloc(1_500_001, 1), Buffer.from('two')]);
      expect(content.subarray(0, expected.length).equals(expected)).toBe(true);
      expect(content.subarray(expected.length).every((byte) => byte === 7)).toBe(true);
      expect(content.length).toBe(SUITE_BYTES);
    });

    test('[SM-44] it takes exactly what fits', async () => {
      await partition.write(piecesOf(Buffer.alloc(SUITE_BYTES, 1)), signal);
      await expect(partition.write(piecesOf(Buffer.alloc(SUITE_BYTES), Buffer.alloc(1)), signal)).rejects.toMatchObject(
        {
          code: 'noMemory',
        },
      );
      expect(await partition.sizeBytes(signal)).toBe(SUITE_BYTES);
      await expect(all(partition.read(SUITE_BYTES + 1, signal))).rejects.toMatchObject({ code: 'eof' });
    });

    test('[SM-44] writing ends when nobody wants it any more, or when the content fails', async () => {
      await expect(partition.write(piecesOf(Buffer.alloc(1)), AbortSignal.abort())).rejects.toMatchObject({
        code: 'canceled',
      });
      const failing = (async function* () {
        yield Buffer.alloc(1);
        throw new Error('the image is damaged');
      })();
      await expect(partition.write(failing, signal)).rejects.toThrow(/the image is damaged/);
    });
  });
}
