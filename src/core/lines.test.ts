import fc from 'fast-check';
import { expect, test } from 'vitest';
import { boundedLines } from './lines.ts';

async function all(lines: AsyncIterable<string>): Promise<string[]> {
  const read: string[] = [];
  for await (const line of lines) read.push(line);
  return read;
}

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

test('lines are the same however the bytes are cut', () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll(/[\r\n]/g, ''))),
      fc.integer({ min: 1, max: 9 }),
      async (lines, size) => {
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
        expect(await all(boundedLines(inPieces(bytes, size), 4096))).toEqual(lines);
      },
    ),
  ));

test('a line without an end keeps no more than its bound, and the next line is whole', async () => {
  async function* endless(): AsyncGenerator<Buffer> {
    for (let n = 0; n < 1000; n += 1) yield Buffer.alloc(65_536, 'x');
    yield Buffer.from('\nnext\r\nlast');
  }
  expect(await all(boundedLines(endless(), 10))).toEqual(['xxxxxxxxxx', 'next', 'last']);
});

test('bytes that are no text become replacement characters', async () => {
  expect(await all(boundedLines(inPieces(Buffer.from([0xff, 0x00, 0x41, 10]), 1), 99))).toEqual(['\ufffd\u0000A']);
});
