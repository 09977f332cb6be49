/** A cloud is backed up while it runs, and goes on from the backup at another place. */
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DirectoryFiles } from '../blobs/directory-files.ts';
import { TestCloud } from '../cloud-for-tests.ts';
import { ScriptedUnit } from '../scripted-unit-for-tests.ts';
import { backUp } from './back-up.ts';
import { restoreBackup } from './restore.ts';

let cloud: TestCloud;
let unit: ScriptedUnit;
let directory: string;
let archive: string;

beforeAll(async () => {
  cloud = await TestCloud.start();
  directory = await mkdtemp(join(tmpdir(), 'aos-cloud-backup-'));
  archive = join(directory, 'cloud.tar');
  unit = await ScriptedUnit.register(cloud);
  await cloud.publish('story', '1.0.0', 'a layer that must not get lost');
  await cloud.must('PUT', `${unit.path}/deployments/story`, { version: '1.0.0' });
});

afterAll(async () => {
  await cloud.close();
  await rm(directory, { recursive: true, force: true });
});

const work = () => join(cloud.directory, 'work');
const blobs = () => new DirectoryFiles(join(work(), 'blobs'));

/** A place for a cloud. */
const home = (name: string) => join(directory, name);

// With PostgreSQL it is refused.
describe.skipIf(process.env.AOS_TEST_POSTGRES)('backup and restore', () => {
  test('a unit goes on at the restored cloud as if nothing had happened: same trust, same wishes, same blobs', async () => {
    await unit.comeOnline();
    const summary = await backUp(work(), blobs(), archive);
    expect(summary.files).toBeGreaterThan(8);
    expect((await stat(archive)).mode & 0o777).toBe(0o600);
    // What comes later is not in it.
    await cloud.must('DELETE', `${unit.path}/deployments/story`);
    unit.disconnect();

    await mkdir(home('second'));
    expect(await restoreBackup(archive, join(home('second'), 'work'))).toEqual(summary);
    const second = await TestCloud.start({}, home('second'));
    const same = ScriptedUnit.known(second, unit.systemId, unit.identity);
    try {
      expect(second.root).toBe(cloud.root);
      await same.comeOnline();
      await second.must('POST', `${same.path}/resend`);
      const { data } = await same.next('desiredStatus');
      expect(data.items).toMatchObject([{ item: { id: 'story' }, version: '1.0.0' }]);
      same.send({ messageType: 'requestBlobUrls', correlationId: 'x', digests: [data.items![0]!.indexDigest] });
      expect((await same.next('blobUrls')).data.items).toHaveLength(1);
      // Reads the blobs of the former cloud.
      await second.must('PUT', '/api/items/again/1.0.0', { indexDigest: data.items![0]!.indexDigest });
    } finally {
      same.disconnect();
      await second.close();
    }
  });

  test('a backup that is cut off or was changed makes no cloud', async () => {
    const bytes = await readFile(archive);
    const bad = home('bad.tar');
    const target = home('never');
    await writeFile(bad, bytes);
    await truncate(bad, Math.floor(bytes.length / 2));
    await expect(restoreBackup(bad, target)).rejects.toThrow();
    // A whole number of blocks, but the end is missing.
    await truncate(bad, 512);
    await expect(restoreBackup(bad, target)).rejects.toThrow();
    const changed = Buffer.from(bytes);
    changed[600] = changed[600]! ^ 1;
    await writeFile(bad, changed);
    await expect(restoreBackup(bad, target)).rejects.toThrow(/cloud\.db is missing or is not what was backed up/);
    expect(await readdir(directory)).toEqual(expect.not.arrayContaining([expect.stringMatching(/never/)]));
  });

  test('nothing is written over', async () => {
    await mkdir(home('full'));
    await writeFile(join(home('full'), 'precious'), '');
    await expect(restoreBackup(archive, home('full'))).rejects.toThrow(/is not empty/);
    await expect(backUp(work(), blobs(), archive)).rejects.toThrow(/is there already/);
    await expect(backUp(home('full'), blobs(), home('other.tar'))).rejects.toThrow(/there is no cloud in/);
  });

  test('a blob that an item loses meanwhile does not break the backup', async () => {
    await cloud.publish('short-lived', '1.0.0');
    const [summary] = await Promise.all([
      backUp(work(), blobs(), home('meanwhile.tar')),
      cloud.must('DELETE', '/api/items/short-lived/1.0.0'),
    ]);
    expect(summary.files).toBeGreaterThan(0);
    expect(await restoreBackup(home('meanwhile.tar'), home('meanwhile'))).toEqual(summary);
  });
});
