/** A cloud whose blobs lie in an S3-compatible store. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../core/index.ts';
import type { BlobInfo } from '../../../protocol/index.ts';
import { backUp } from '../../backup/back-up.ts';
import { restoreBackup } from '../../backup/restore.ts';
import { fetchHttps } from '../../cloud-access-for-tests.ts';
import { TestCloud } from '../../cloud-for-tests.ts';
import { ScriptedUnit } from '../../scripted-unit-for-tests.ts';
import { S3Double, type Trouble } from './s3-double-for-tests.ts';
import { S3Files } from './s3-files.ts';

const CREDENTIALS = { accessKeyId: 'AKTEST', secretAccessKey: 'secret' };
const STORE = { bucket: 'blobs', region: 'eu-north-1' };
const DENIED: Trouble = { do: 'answer', status: 403, code: 'AccessDenied', message: 'no' };

let directory: string;
let store: S3Double;
let cloud: TestCloud;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cloud-s3-'));
  store = await S3Double.start({ ...STORE, ...CREDENTIALS });
  await writeFile(join(directory, 'credentials.json'), JSON.stringify(CREDENTIALS));
  await mkdir(home('first'));
});

afterEach(async () => {
  await cloud.stop();
  await store.stop();
  await rm(directory, { recursive: true, force: true });
});

/** A place for a cloud. */
const home = (name: string) => join(directory, name);
const s3 = () => ({
  ...{ ...STORE, endpoint: store.endpoint, prefix: 'aos/' },
  credentialsFile: join(directory, 'credentials.json'),
});
const start = async (config: Record<string, unknown> = { s3: s3() }, name = 'first') => {
  cloud = await TestCloud.start(config, home(name));
  return cloud;
};
const inDirectory = (name = 'first') => readdir(join(home(name), 'work', 'blobs'));

/** How a unit that has this layer deployed is told to get it. */
async function offered(unit: ScriptedUnit, digest: string): Promise<BlobInfo> {
  unit.send({ messageType: 'requestBlobUrls', correlationId: 'x', digests: [digest] });
  return (await unit.next('blobUrls')).data.items[0]!;
}

const fetchBlob = ({ urls }: BlobInfo, headers: Record<string, string> = {}) =>
  fetchHttps(urls[0]!, { ca: cloud.root, agent: false, headers });

async function deployed(content: Buffer) {
  const unit = await ScriptedUnit.register(cloud);
  const { layer } = await cloud.publish('story', '1.0.0', content);
  await cloud.must('PUT', `${unit.path}/deployments/story`, { version: '1.0.0' });
  await unit.comeOnline();
  return { unit, layer };
}

/** What reaches into the file of SQLite, or needs a backup. */
const onPostgres = process.env.AOS_TEST_POSTGRES !== undefined;

describe('[P-06] a cloud with an S3-compatible store', () => {
  test('units get blobs, in parts as well; nothing stays in the directory, and nothing in the store when the item goes', async () => {
    await start();
    const { unit, layer } = await deployed(randomBytes(200_000));
    expect(await inDirectory()).toEqual([]);
    expect([...store.objects.keys()].every((key) => key.startsWith('aos/'))).toBe(true);
    const blob = await offered(unit, layer);
    const whole = await fetchBlob(blob);
    expect(whole).toMatchObject({ status: 200, headers: { 'content-length': String(blob.size) } });
    const part = await fetchBlob(blob, { range: 'bytes=1000-' });
    expect(part).toMatchObject({
      status: 206,
      headers: { 'content-range': `bytes 1000-${blob.size - 1}/${blob.size}` },
    });
    expect(part.body.equals(whole.body.subarray(1000))).toBe(true);
    unit.disconnect();
    await cloud.must('DELETE', `${unit.path}/deployments/story`);
    await cloud.must('DELETE', '/api/items/story/1.0.0');
    expect([...store.objects]).toEqual([]);
  });

  test('a store that fails: an upload says so, a download is put off, and the cloud goes on', async () => {
    await start();
    const { unit, layer } = await deployed(randomBytes(1000));
    const blob = await offered(unit, layer);
    store.trouble(DENIED);
    expect(await fetchBlob(blob)).toMatchObject({ status: 503, headers: { 'retry-after': expect.any(String) } });
    store.trouble(DENIED);
    await expect(cloud.upload('something else')).rejects.toThrow(/503.*AccessDenied.*policy must allow/s);
    expect(await inDirectory()).toEqual([]);
    expect(await fetchBlob(blob)).toMatchObject({ status: 200 });
    unit.disconnect();
  });

  test.skipIf(onPostgres)(
    'what could not be removed, and what a crash has left, goes with the next start',
    async () => {
      await start();
      await cloud.publish('story', '1.0.0');
      expect(store.objects.size).toBe(5);
      store.trouble(...Array<Trouble>(5).fill(DENIED));
      await cloud.must('DELETE', '/api/items/story/1.0.0');
      expect(store.objects.size).toBe(5);
      await cloud.stop();
      // As a crash between the upload and the entry of the blob leaves it.
      store.objects.set('aos/half-way', Buffer.from('an upload that nobody knows'));
      const database = new DatabaseSync(join(home('first'), 'work', 'cloud.db'));
      database.exec(`INSERT INTO leftoverFiles VALUES ('half-way')`);
      database.close();
      // What is somebody else's stays.
      store.objects.set('aos/of-another-cloud', Buffer.from('precious'));
      await start();
      expect([...store.objects.keys()]).toEqual(['aos/of-another-cloud']);
    },
  );

  test.skipIf(onPostgres)('a cloud moves its blobs out of its directory, and back by backup and restore', async () => {
    await start({});
    const { unit, layer } = await deployed(randomBytes(5000));
    const before = await fetchBlob(await offered(unit, layer));
    unit.disconnect();
    expect(await inDirectory()).toHaveLength(5);
    await cloud.stop();

    await start();
    expect(await inDirectory()).toEqual([]);
    expect(store.objects.size).toBe(5);
    const files = new S3Files({ ...s3(), logger: silentLogger, now: () => new Date() });
    await backUp(join(home('first'), 'work'), files, home('cloud.tar'));
    files.stop();
    await cloud.stop();

    await mkdir(home('second'));
    await restoreBackup(home('cloud.tar'), join(home('second'), 'work'));
    await start({}, 'second');
    expect(await inDirectory('second')).toHaveLength(5);
    const same = ScriptedUnit.known(cloud, unit.systemId, unit.identity);
    await same.comeOnline();
    expect((await fetchBlob(await offered(same, layer))).body.equals(before.body)).toBe(true);
    same.disconnect();
  });
});
