import { randomBytes } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { steadyGzip } from './steady-gzip.ts';

/** Some words, so that it compresses, and no two places are alike. */
const TEXT = Buffer.from(
  Array.from({ length: 150_000 }, (_, index) => `${(index * 7919) % 1_000_003} and so on\n`).join(''),
);

async function zipped(content: Buffer, pieceBytes = 65_536): Promise<Buffer> {
  const pieces = async function* () {
    for (let at = 0; at < content.length; at += pieceBytes) yield content.subarray(at, at + pieceBytes);
  };
  return collect(steadyGzip(pieces()));
}

async function collect(pieces: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}

/** How many bytes at the end are the same, without the checksum and the size. */
function sameAtEnd(one: Buffer, other: Buffer): number {
  let count = 8;
  while (one[one.length - 1 - count] === other[other.length - 1 - count]) count += 1;
  return count - 8;
}

test('[P-21] [P-06] what any gzip reads, and little larger than what any gzip writes', async () => {
  const content = await zipped(TEXT);
  expect(gunzipSync(content).equals(TEXT)).toBe(true);
  expect(content.length).toBeLessThan(gzipSync(TEXT).length * 1.03);
  expect(gunzipSync(await zipped(Buffer.alloc(0)))).toEqual(Buffer.alloc(0));
});

test('[P-21] behind a change it goes on as before, also when something came in between', async () => {
  const changed = Buffer.concat([TEXT.subarray(0, 300_000), randomBytes(777), TEXT.subarray(300_100)]);
  const [one, other] = [await zipped(TEXT), await zipped(changed)];
  // All but what lies before the change, and the part that has it: half a megabyte of content at the most.
  const restOfContent = (TEXT.length - 300_100 - 512 * 1024) / TEXT.length;
  expect(sameAtEnd(one, other)).toBeGreaterThan(one.length * restOfContent * 0.9);
  // By chance the blocks of any other gzip can meet again near the end, too.
  expect(sameAtEnd(gzipSync(TEXT), gzipSync(changed))).toBeLessThan(sameAtEnd(one, other) / 10);
});

test('[P-06] the same content gives the same bytes, in whatever pieces it comes', async () => {
  const content = Buffer.concat([TEXT.subarray(0, 700_000), Buffer.alloc(900_000)]);
  const whole = await zipped(content);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1000, max: 2_000_000 }), async (pieceBytes) => {
      expect((await zipped(content, pieceBytes)).equals(whole)).toBe(true);
    }),
    { numRuns: 10 },
  );
});

test('content that cannot be read ends it with that error; whoever reads no further leaves nothing behind', async () => {
  const broken = async function* () {
    yield TEXT.subarray(0, 100_000);
    throw new Error('the disk is broken');
  };
  await expect(collect(steadyGzip(broken()))).rejects.toThrow('the disk is broken');
  const some = steadyGzip(
    (async function* () {
      for (;;) yield TEXT;
    })(),
  );
  await some.next();
  await some.return();
});
