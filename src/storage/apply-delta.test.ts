import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../core/index.ts';
import { applyDelta } from './apply-delta.ts';
import { deltaFor, segmentFor } from './delta-for-tests.ts';
import { encodeSegmentHeader, PIECE_BYTES, SEGMENT_BYTES } from './delta-format.ts';

let directory: string;
const forever = new AbortController().signal;
const old = randomBytes(PIECE_BYTES + 4096);

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-delta-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function apply(delta: Buffer, sizeBytes: number, base = old, signal = forever): Promise<string> {
  const [baseFile, deltaFile, toFile] = ['base', 'delta', 'to'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  await Promise.all([writeFile(baseFile, base), writeFile(deltaFile, delta)]);
  return applyDelta({ baseFile, deltaFile, toFile, sizeBytes, signal });
}

const made = () => readFile(join(directory, 'to'));

/** Contains a piece of the old content, and something new, in three segments. */
const content = Buffer.concat([old.subarray(5000, 700_000), randomBytes(1000), old.subarray(0, SEGMENT_BYTES)]);

test('[P-21] old content and a delta make the new content, which is much larger than the delta', async () => {
  const delta = deltaFor(old, content);
  expect(delta.length).toBeLessThan(content.length / 100);
  expect(`sha256:${await apply(delta, content.length)}`).toBe(digestOf(content));
  expect((await made()).equals(content)).toBe(true);
});

test('[P-21] nothing at all is a content too, and an old content of a few bytes is no dictionary', async () => {
  expect(`sha256:${await apply(Buffer.alloc(0), 0)}`).toBe(digestOf(Buffer.alloc(0)));
  const few = Buffer.from('abc');
  expect(`sha256:${await apply(deltaFor(few, content), content.length, few)}`).toBe(digestOf(content));
});

test('[P-21] with another old content a delta makes another content, or none, and never more', async () => {
  const other = randomBytes(old.length);
  const digest = await apply(deltaFor(old, content), content.length, other).catch(() => 'none');
  expect(`sha256:${digest}`).not.toBe(digestOf(content));
  expect((await made()).length).toBeLessThanOrEqual(content.length);
});

describe('[P-21] [R-06] refused is a delta that', () => {
  const whole = deltaFor(old, content);
  const bomb = zstdCompressSync(Buffer.alloc(64 * SEGMENT_BYTES));
  const bombHeader = { pieceStart: 0, pieceBytes: 0, frameBytes: bomb.length, plainBytes: SEGMENT_BYTES };
  const small = Buffer.from('a few new bytes');

  test.each<[string, Buffer, number, RegExp]>([
    ['ends within a header', whole.subarray(0, 10), content.length, /ends within a header/],
    ['ends within a segment', whole.subarray(0, -1), content.length, /ends within a segment/],
    [
      'ends between two segments',
      deltaFor(old, content.subarray(0, SEGMENT_BYTES)),
      content.length,
      /makes 524288 bytes/,
    ],
    ['is something else', randomBytes(1000), content.length, /not of the format/],
    ['makes more than was told', whole, content.length - 1, /makes more than/],
    ['makes less than was told', whole, content.length + 1, /makes \d+ bytes, expected/],
    ['has a bomb', Buffer.concat([encodeSegmentHeader(bombHeader), bomb]), content.length, /cannot be unpacked/],
    [
      'lies about the size of a segment',
      segmentFor(old.subarray(0, 100), small, { plainBytes: 99 }),
      99,
      /claims to have 99/,
    ],
    ['has a segment of no size', segmentFor(old.subarray(0, 100), small, { plainBytes: 0 }), 15, /segment of 0 bytes/],
    ['wants a huge frame', segmentFor(old, small, { frameBytes: 2 ** 31 }), 15, /has a segment/],
    ['wants a huge dictionary', segmentFor(old, small, { pieceBytes: 2 ** 31 }), 15, /has a segment/],
    [
      'refers to what lies behind the end',
      segmentFor(old, small, { pieceStart: old.length, pieceBytes: 9 }),
      15,
      /has not/,
    ],
    ['refers to the end of the world', segmentFor(old, small, { pieceStart: 2 ** 60 }), 15, /has a segment/],
  ])('%s', async (_, delta, sizeBytes, complaint) => {
    await expect(apply(delta, sizeBytes)).rejects.toMatchObject({
      code: 'invalidChecksum',
      message: expect.stringMatching(complaint),
    });
    expect((await made()).length).toBeLessThanOrEqual(sizeBytes);
  });

  test('was damaged anywhere, unless it does what it did before', async () => {
    const piece = old.subarray(0, 2000);
    const plain = Buffer.concat([piece, Buffer.from('new'), piece]);
    const delta = deltaFor(piece, plain);
    await fc.assert(
      fc.asyncProperty(fc.nat(delta.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const damaged = Buffer.from(delta);
        damaged[at] = damaged[at]! ^ change;
        const outcome = await apply(damaged, plain.length, piece).catch((error) => error.code);
        expect((await made()).length).toBeLessThanOrEqual(plain.length);
        if (`sha256:${outcome}` !== digestOf(plain)) expect(outcome).toMatch(/^(?:invalidChecksum|[0-9a-f]{64})$/);
      }),
      { numRuns: 60 },
    );
  });
});

test('a delta that nobody wants any more is given up', async () => {
  await expect(apply(deltaFor(old, content), content.length, old, AbortSignal.abort())).rejects.toMatchObject({
    code: 'canceled',
  });
});
