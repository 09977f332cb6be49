/** From the folder of an author to what goes over the wire for its next version: packed, compared, made again. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { packFolder } from '../../src/cli/publish/author/pack-folder.ts';
import { makeDelta } from '../../src/cloud/blobs/deltas/make-delta.ts';
import { applyDelta } from '../../src/storage/index.ts';

const forever = new AbortController().signal;
let directory: string;
const at = (name: string) => join(directory, name);

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-packed-deltas-'));
  await mkdir(at('app'));
  for (let file = 0; file < 40; file += 1) await writeFile(at(`app/file-${file}`), words(file, 100_000));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** Text that compresses, another one for each seed. */
function words(seed: number, sizeBytes: number): string {
  let text = '';
  for (let word = 0; text.length < sizeBytes; word += 1)
    text += `${(word * 7919 + seed * 104_729) % 999_983} goes on\n`;
  return text;
}

async function inPieces(path: string) {
  const content = await readFile(path);
  return (async function* () {
    for (let from = 0; from < content.length; from += 65_536) yield content.subarray(from, from + 65_536);
  })();
}

test('[P-21] [P-06] of the next version of a folder little more goes over the wire than what was changed in it', async () => {
  const old = await packFolder(at('app'), at('old'), forever);
  await writeFile(at('app/file-17'), words(1000, 90_000));
  await writeFile(at('app/file-new'), words(1001, 1000));
  const next = await packFolder(at('app'), at('next'), forever);

  const oldLayer = await readFile(at('old'));
  const all = await inPieces(at('old'));
  const read = async (start: number, sizeBytes: number) => oldLayer.subarray(start, start + sizeBytes);
  const parts: Buffer[] = [];
  const base = { sizeBytes: oldLayer.length, all: () => all, read };
  for await (const part of makeDelta(base, await inPieces(at('next')), forever)) parts.push(part);
  const delta = Buffer.concat(parts);
  await writeFile(at('delta'), delta);

  const request = { baseFile: at('old'), deltaFile: at('delta'), toFile: at('made'), sizeBytes: next.sizeBytes };
  expect(`sha256:${await applyDelta({ ...request, signal: forever })}`).toBe(next.digest);
  expect(old.digest).not.toBe(next.digest);
  // Two files of forty are new, and what stands with them in the same parts of the compressed layer.
  expect(delta.length).toBeLessThan(next.sizeBytes * 0.2);
});
