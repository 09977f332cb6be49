/** A cloud that offers deltas to units which say what they have. */
import { createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../../../core/index.ts';
import type { BlobDelta, BlobInfo } from '../../../protocol/index.ts';
import { applyDelta } from '../../../storage/index.ts';
import { fetchHttps } from '../../cloud-access-for-tests.ts';
import { TestCloud } from '../../cloud-for-tests.ts';
import { ScriptedUnit } from '../../scripted-unit-for-tests.ts';

let directory: string;
let cloud: TestCloud;

const old = randomBytes(900_000);
const content = Buffer.concat([old.subarray(0, 500_000), Buffer.from('a few new words'), old.subarray(500_000)]);

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cloud-deltas-'));
});

afterEach(async () => {
  await cloud.stop();
  await rm(directory, { recursive: true, force: true });
});

const start = async (config: Record<string, unknown> = {}) => {
  cloud = await TestCloud.start(config, directory);
};
const files = () => readdir(join(directory, 'work', 'deltas'));

async function ask(unit: ScriptedUnit, digest: string, bases?: readonly string[]): Promise<BlobInfo | undefined> {
  const correlationId = Math.random().toString(36).slice(2);
  unit.send({ messageType: 'requestBlobUrls', correlationId, digests: [digest], ...(bases && { bases }) });
  for (;;) {
    const { data } = await unit.next('blobUrls');
    if (data.correlationId === correlationId) return data.items[0];
  }
}

/** As `ask`, again while the delta is being made: a slow machine answers before. */
async function offered(unit: ScriptedUnit, digest: string, bases: readonly string[]): Promise<BlobDelta> {
  for (;;) {
    const delta = (await ask(unit, digest, bases))?.deltas?.[0];
    if (delta) return delta;
  }
}

/** Two versions of an item, and a unit that is to have the second one. */
async function twoVersions() {
  const first = await cloud.publish('web', '1.0.0', old);
  const second = await cloud.publish('web', '2.0.0', content);
  const unit = await ScriptedUnit.register(cloud);
  await cloud.must('PUT', `${unit.path}/deployments/web`, { version: '2.0.0' });
  await unit.comeOnline();
  return { unit, from: first.layer, layer: second.layer };
}

const fetchDelta = ({ urls }: BlobDelta, headers: Record<string, string> = {}) =>
  fetchHttps(urls[0]!, { ca: cloud.root, agent: false, headers });

/** What a unit that has the old layer makes of it. */
async function madeBy(delta: BlobDelta): Promise<string> {
  const { body } = await fetchDelta(delta);
  expect(body.length).toBe(delta.size);
  expect(createHash('sha3-256').update(body).digest('hex')).toBe(delta.sha256);
  const { blockKey, blockIv } = delta.decryptInfo!;
  const decipher = createDecipheriv('aes-256-cbc', Buffer.from(blockKey, 'base64'), Buffer.from(blockIv, 'base64'));
  const [baseFile, deltaFile, toFile] = [join(directory, 'old'), join(directory, 'delta'), join(directory, 'new')];
  await writeFile(baseFile, old);
  await writeFile(deltaFile, Buffer.concat([decipher.update(body), decipher.final()]));
  const { signal } = new AbortController();
  return `sha256:${await applyDelta({ baseFile, deltaFile, toFile, sizeBytes: delta.contentSize, signal })}`;
}

describe('[P-21] a unit that says which blobs it has', () => {
  test('is offered a delta beside the whole blob, encrypted, in parts as well, that leads to the new content', async () => {
    await start();
    const { unit, from, layer } = await twoVersions();
    const delta = await offered(unit, layer, [digestOf('not known here'), from]);
    expect(await ask(unit, layer, [from])).toMatchObject({
      ...{ digest: layer, urls: [expect.any(String)], signInfo: expect.anything(), deltas: [delta] },
    });
    expect(delta).toMatchObject({ base: from, format: 'zstd-segments', contentSize: content.length });
    expect(delta.size).toBeLessThan(content.length / 100);
    expect(await madeBy(delta)).toBe(layer);
    const part = await fetchDelta(delta, { range: 'bytes=16-' });
    expect(part).toMatchObject({
      status: 206,
      headers: { 'content-range': `bytes 16-${delta.size - 1}/${delta.size}` },
    });
    for (const name of await files()) {
      expect((await readFile(join(directory, 'work', 'deltas', name))).includes('a few new words')).toBe(false);
    }
  });

  test('is offered the same delta again, also by a cloud that was started anew', async () => {
    await start();
    const { unit, from, layer } = await twoVersions();
    const first = await offered(unit, layer, [from]);
    expect(await offered(unit, layer, [from])).toEqual(first);
    await cloud.stop();
    await writeFile(join(directory, 'work', 'deltas', 'left-over'), 'of a crash');
    await start();
    const same = ScriptedUnit.known(cloud, unit.systemId, unit.identity);
    await same.comeOnline();
    expect((await ask(same, layer, [from]))!.deltas).toMatchObject([{ sha256: first.sha256, size: first.size }]);
    expect((await files()).length).toBe(2);
  });

  test('gets no delta where there is none that is worth it: of other content, of a small blob, of the same', async () => {
    await start();
    const { unit, from, layer } = await twoVersions();
    const foreign = await cloud.publish('other', '1.0.0', randomBytes(900_000));
    await cloud.must('PUT', `${unit.path}/deployments/other`, { version: '1.0.0' });
    for (const bases of [[foreign.layer], [layer], [digestOf('unknown')], []]) {
      expect(await ask(unit, layer, bases)).not.toHaveProperty('deltas');
    }
    // The first one of no use does not hide the second one.
    expect(await offered(unit, layer, [foreign.layer, from])).toMatchObject({ base: from });
  });

  test('gets none that begins with a blob of an item that is not its own', async () => {
    await start();
    const { unit, layer } = await twoVersions();
    const foreign = await cloud.publish('foreign', '1.0.0', Buffer.concat([content, Buffer.from('secret')]));
    expect(await ask(unit, layer, [foreign.layer])).not.toHaveProperty('deltas');
  });
});

test('[P-21] a unit that knows nothing of deltas is answered as ever', async () => {
  await start();
  const { unit, layer } = await twoVersions();
  expect(await ask(unit, layer)).not.toHaveProperty('deltas');
  expect(await files()).toEqual([]);
});

test('[P-21] deltas take no more room than the configuration gives them; the latest stays', async () => {
  await start({ deltaLimitBytes: 800 });
  const { unit, from, layer } = await twoVersions();
  const first = await offered(unit, layer, [from]);
  const third = await cloud.publish('web', '3.0.0', Buffer.concat([content, randomBytes(500)]));
  await cloud.must('PUT', `${unit.path}/deployments/web`, { version: '3.0.0' });
  const second = await offered(unit, third.layer, [layer]);
  expect(first.size + second.size).toBeGreaterThan(800);
  expect((await fetchDelta(first)).status).toBe(404);
  expect((await fetchDelta(second)).status).toBe(200);
});

test('[P-21] with no room for them a cloud makes none', async () => {
  await start({ deltaLimitBytes: 0 });
  const { unit, from, layer } = await twoVersions();
  expect(await ask(unit, layer, [from])).not.toHaveProperty('deltas');
});
