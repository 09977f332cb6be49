/** A CM that dies at each durable write about an item, beyond those of an update that goes well (spec/beyond.md R-01). */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../core/index.ts';
import type { BlobInfo } from '../../protocol/index.ts';
import { deltaFor } from '../../storage/delta-for-tests.ts';
import { type Act, act, type Plan } from './acts-for-tests.ts';
import type { WantedItem } from './plan-items.ts';
import { Publisher } from './publisher-for-tests.ts';

let directory: string;
let publisher: Publisher;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-images-crash-'));
  publisher = await Publisher.open();
});

afterEach(async () => {
  await publisher.close();
  await rm(directory, { recursive: true, force: true });
});

/** From now on these are wanted; all that is published is offered, without signature. */
async function want(...wanted: readonly WantedItem[]): Promise<void> {
  const blobs: Record<Digest, BlobInfo> = {};
  for (const digest of publisher.blobs.keys()) {
    const { signInfo: _, ...blob } = await publisher.locate(digest);
    blobs[digest] = blob;
  }
  const plan: Plan = { blobs, wanted };
  await writeFile(join(directory, 'plan.json'), JSON.stringify(plan));
}

/** The act in a process of its own that dies at a fault point; the publisher goes on in this one. */
async function die(fault: string, what: Act): Promise<void> {
  const script = join(import.meta.dirname, 'crash-for-tests.ts');
  const env = { ...process.env, AOS_FAULT: fault };
  const child = spawn(process.execPath, [script, directory, what], { env, stdio: 'inherit' });
  expect(await once(child, 'close')).toEqual([null, 'SIGKILL']);
}

const stored = async () => (await readdir(join(directory, 'install', 'blobs', 'sha256'))).sort();
const partial = () => readdir(join(directory, 'download', 'blobs', 'sha256'));

describe('a download with an item that cannot be had', () => {
  test.each(['cm.images.failed.before-commit', 'cm.images.failed.committed', 'storage.install.discard'])(
    '[R-01] [X-07] killed at %s it ends as it would have, and the store is clean',
    async (fault) => {
      const [good, bad] = [publisher.publish('good', '1'), publisher.publish('bad', '1')];
      // Its checksum fits, its content does not.
      const other = publisher.blobs.get(publisher.put(Buffer.from('something else')))!;
      publisher.tell(bad.layers[0]!, other.info);
      const [hex] = [bad.layers[0]!.slice('sha256:'.length)];
      publisher.trouble.set(bad.layers[0]!, (response) => {
        response.writeHead(200, { 'content-length': other.file.length }).end(other.file);
        return true;
      });
      await want(good, bad);
      await die(fault, 'download');
      expect(await act(directory, 'download')).toEqual(['bad failed', 'good pending']);
      expect(await stored()).not.toContain(hex);
      expect(await act(directory, 'install')).toEqual(['bad failed', 'good installed']);
      await want(good);
      expect(await act(directory, 'download')).toEqual(['good installed']);
      expect(await stored()).toHaveLength(5);
      expect(await partial()).toEqual([]);
    },
  );

  test('[R-01] killed while it notes where a download comes from, nothing of the note is left', async () => {
    const good = publisher.publish('good', '1');
    await want(good);
    await die('storage.download-note.written', 'download');
    expect((await partial()).some((name) => name.startsWith('.tmp-'))).toBe(true);
    expect(await act(directory, 'download')).toEqual(['good pending']);
    expect(await partial()).toEqual([]);
  });
});

describe('[P-21] a layer that comes as a delta', () => {
  test.each(['cm.images.delta.fetched', 'cm.images.delta.made', 'storage.blob.renamed#4'])(
    '[R-01] [X-07] killed at %s it is there in the end, and nothing else',
    async (fault) => {
      const old = randomBytes(100_000);
      const first = publisher.publish('web', '1', { layers: [old] });
      await want(first);
      await act(directory, 'download');
      await act(directory, 'install');

      const content = Buffer.concat([old, Buffer.from('new')]);
      const second = publisher.publish('web', '2', { layers: [content] });
      const delta = publisher.put(deltaFor(old, content));
      const { sha256, size, decryptInfo } = publisher.blobs.get(delta)!.info;
      const base = { base: first.layers[0]!, format: 'zstd-segments', contentSize: content.length };
      publisher.tell(second.layers[0]!, {
        deltas: [{ ...base, urls: [publisher.urlOf(delta)], sha256, size, decryptInfo }],
      });
      await want(second);
      await die(fault, 'download');
      publisher.requests.length = 0;
      expect(await act(directory, 'download')).toEqual(['web installed', 'web pending']);
      expect(publisher.requests.join()).not.toContain(second.layers[0]!.slice('sha256:'.length));
      expect(await act(directory, 'install')).toEqual(['web installed', 'web removed']);
      expect(await partial()).toEqual([]);
    },
  );
});

describe('what was removed', () => {
  test.each([
    ['evict', 'cm.images.evict.before-commit'],
    ['evict', 'cm.images.evict.committed'],
    ['outdated', 'cm.images.outdated.before-commit'],
    ['outdated', 'cm.images.outdated.committed'],
  ] as const)(
    '[R-01] [CM-51] [CM-52] killed in "%s" at %s it goes the next time, and nothing else',
    async (what, fault) => {
      const [kept, gone] = [publisher.publish('kept', '1'), publisher.publish('gone', '1')];
      await want(kept, gone);
      await act(directory, 'download');
      await act(directory, 'install');
      await want(kept);
      expect(await act(directory, 'install')).toEqual(['gone removed', 'kept installed']);
      await die(fault, what);
      await act(directory, what);
      expect(await act(directory, 'download')).toEqual(['kept installed']);
      expect(await stored()).toHaveLength(5);
    },
  );
});
