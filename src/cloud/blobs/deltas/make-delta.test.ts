import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf } from '../../../core/index.ts';
import { applyDelta, SEGMENT_BYTES } from '../../../storage/index.ts';
import { makeDelta, type OldContent } from './make-delta.ts';

const MIB = 1024 * 1024;
const forever = new AbortController().signal;
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-make-delta-'));
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function* inPieces(content: Buffer, sizeBytes = 60_000) {
  for (let at = 0; at < content.length; at += sizeBytes) yield content.subarray(at, at + sizeBytes);
}

const oldContent = (content: Buffer): OldContent => ({
  sizeBytes: content.length,
  all: () => inPieces(content),
  read: async (start, sizeBytes) => content.subarray(start, start + sizeBytes),
});

/** The size of the delta, after it was seen to lead to the new content. */
async function deltaBytes(old: Buffer, content: Buffer): Promise<number> {
  const parts: Buffer[] = [];
  for await (const part of makeDelta(oldContent(old), inPieces(content), forever)) parts.push(part);
  const delta = Buffer.concat(parts);
  const [baseFile, deltaFile, toFile] = [join(directory, 'old'), join(directory, 'delta'), join(directory, 'new')];
  await Promise.all([writeFile(baseFile, old), writeFile(deltaFile, delta)]);
  const sha256 = await applyDelta({ baseFile, deltaFile, toFile, sizeBytes: content.length, signal: forever });
  expect(`sha256:${sha256}`).toBe(digestOf(content));
  expect((await readFile(toFile)).length).toBe(content.length);
  return delta.length;
}

describe('[P-21] of 8 MiB that do not compress, what goes over the wire is little more than what is new when', () => {
  const old = randomBytes(8 * MIB);
  const news = randomBytes(50_000);
  const spots = Buffer.from(old);
  for (let spot = 0; spot < 20; spot += 1) news.copy(spots, spot * 400_003, 0, 2500);

  /** A segment that begins like one place and ends like another refers to the place that it has more of. */
  const junctionBytes = SEGMENT_BYTES / 2;

  test.each<[string, Buffer, number?]>([
    ['something is in other words in twenty places', spots],
    ['something comes in between', Buffer.concat([old.subarray(0, 3_000_001), news, old.subarray(3_000_001)])],
    ['something goes', Buffer.concat([old.subarray(0, 1_000_003), old.subarray(5_000_000), news]), junctionBytes],
    ['the last comes first', Buffer.concat([old.subarray(6_000_007), news, old.subarray(0, 6_000_007)]), junctionBytes],
  ])('%s', async (_, content, moreBytes = 0) => {
    expect(await deltaBytes(old, content)).toBeLessThan(news.length * 1.2 + moreBytes);
  });

  test('nothing is new', async () => {
    expect(await deltaBytes(old, old)).toBeLessThan(10_000);
  });
});

test('[P-21] what has nothing of the old content is hardly larger than itself', async () => {
  const content = randomBytes(3 * MIB);
  expect(await deltaBytes(randomBytes(2 * MIB), content)).toBeLessThan(content.length * 1.01);
});

test('[P-21] whatever both contents are, the delta leads from one to the other', async () => {
  const piece = fc.oneof(
    fc.record({ repeat: fc.integer({ min: 0, max: 255 }), bytes: fc.nat(700_000) }),
    fc.record({ copy: fc.nat(1_000_000), bytes: fc.nat(700_000) }),
  );
  const pool = randomBytes(1_700_000);
  const build = (pieces: readonly ({ repeat: number; bytes: number } | { copy: number; bytes: number })[]) =>
    Buffer.concat(
      pieces.map((one) =>
        'repeat' in one ? Buffer.alloc(one.bytes, one.repeat) : pool.subarray(one.copy, one.copy + one.bytes),
      ),
    );
  const contents = fc.array(piece, { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(contents, contents, async (old, content) => {
      await deltaBytes(build(old), build(content));
    }),
    { numRuns: 25 },
  );
});
