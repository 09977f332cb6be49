/** aosctl publish against a real cloud, with images of real builders. */
import { execFileSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestCloud } from '../../src/cloud/cloud-for-tests.ts';
import { ScriptedUnit } from '../../src/cloud/scripted-unit-for-tests.ts';
import { digestOf } from '../../src/core/index.ts';
import { busyboxLayer, writeImage } from '../e2e/image.ts';
import { AOSCTL, runProgram, writeProfile } from './run-program.ts';

const STORY_MS = 60_000;

let cloud: TestCloud;
let directory: string;
let profile: string;

beforeAll(async () => {
  cloud = await TestCloud.start();
  directory = await mkdtemp(join(tmpdir(), 'aos-publish-'));
  profile = await writeProfile(cloud.directory, cloud.endpoints.restUrl);
});

afterAll(async () => {
  await cloud.close();
  await rm(directory, { recursive: true, force: true });
});

const ctl = (...args: string[]) => runProgram(AOSCTL, ['--profile', profile, '--json', ...args]);

interface Published {
  readonly indexDigest: string;
  readonly sentBlobs: number;
  readonly images: number;
}

async function publish(path: string, id: string, version: string, ...more: string[]): Promise<Published> {
  const { code, stdout, stderr } = await ctl('publish', path, '--id', id, '--version', version, ...more);
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Published;
}

/** What the index of an OCI layout says about its only image. */
async function documentsOf(layout: string) {
  const read = async (digest: string) =>
    JSON.parse(await readFile(join(layout, 'blobs', 'sha256', digest.slice('sha256:'.length)), 'utf8'));
  const index = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8'));
  const manifest = await read(index.manifests[0].digest);
  return { manifest, config: await read(manifest.config.digest) };
}

describe('[P-06] aosctl publish', { timeout: STORY_MS }, () => {
  test(
    'a layout made by umoci reaches a unit with all its blobs, and its archive by skopeo is the same item',
    async () => {
      const layout = join(directory, 'umoci');
      const image = ['--image', `${layout}:latest`];
      const run = (...args: string[]) => execFileSync('umoci', args, { stdio: 'pipe' });
      run('init', '--layout', layout);
      run('new', ...image);
      const bundle = join(directory, 'bundle');
      for (const name of ['lower', 'upper']) {
        run('unpack', ...image, bundle);
        await writeFile(join(bundle, 'rootfs', name), name);
        run('repack', ...image, bundle);
        await rm(bundle, { recursive: true });
      }
      run('config', ...image, '--config.cmd', '/bin/true');
      run('gc', '--layout', layout);

      const published = await publish(layout, 'made-by-umoci', '1.0.0');
      expect(published.images).toBe(1);
      const archive = join(directory, 'image.tar');
      execFileSync('skopeo', ['copy', '--insecure-policy', `oci:${layout}:latest`, `oci-archive:${archive}:latest`], {
        stdio: 'pipe',
      });
      const again = await publish(archive, 'made-by-umoci', '1.0.0');
      expect(again).toMatchObject({ indexDigest: published.indexDigest, sentBlobs: 0 });

      // Docker's archives hold the layers unpacked: the same image in other blobs.
      const docker = join(directory, 'docker.tar');
      execFileSync(
        'skopeo',
        ['copy', '--insecure-policy', `oci:${layout}:latest`, `docker-archive:${docker}:made:latest`],
        {
          stdio: 'pipe',
        },
      );
      expect(await publish(docker, 'from-docker', '1.0.0')).toMatchObject({ images: 1 });

      const unit = await ScriptedUnit.register(cloud);
      await cloud.must('PUT', `${unit.path}/deployments/made-by-umoci`, { version: '1.0.0' });
      await unit.discover();
      await unit.connect();
      unit.sendStatus({ isDeltaInfo: false });
      const { data: desired } = await unit.next('desiredStatus');
      expect(desired.items).toMatchObject([{ indexDigest: published.indexDigest, version: '1.0.0' }]);
      const { manifest } = await documentsOf(layout);
      const layers = (manifest.layers as { digest: string }[]).map(({ digest }) => digest);
      expect(layers.length).toBeGreaterThanOrEqual(2);
      unit.send({ messageType: 'requestBlobUrls', correlationId: 'x', digests: [published.indexDigest, ...layers] });
      const { data: blobs } = await unit.next('blobUrls');
      expect(blobs.items.map(({ digest }) => digest)).toEqual([published.indexDigest, ...layers]);
      unit.disconnect();
    },
    STORY_MS,
  );

  test('a second version sends only what is new', async () => {
    const layers = [busyboxLayer(), [{ name: 'version', content: '1' }]];
    const first = await writeImage(join(directory, 'first'), { cmd: ['/bin/sh'], layers });
    const second = await writeImage(join(directory, 'second'), {
      ...{ cmd: ['/bin/sh'], layers: [busyboxLayer(), [{ name: 'version', content: '2' }]] },
    });
    await publish(first, 'incremental', '1.0.0');
    // Layer, image configuration, manifest, index.
    expect((await publish(second, 'incremental', '1.1.0')).sentBlobs).toBe(4);
  });

  test('several platforms are one item', async () => {
    const layout = await writeImage(join(directory, 'platforms'), { cmd: ['/bin/sh'] });
    const { manifest, config } = await documentsOf(layout);
    const put = async (value: object) => {
      const text = JSON.stringify(value);
      await writeFile(join(layout, 'blobs', 'sha256', digestOf(text).slice('sha256:'.length)), text);
      return { digest: digestOf(text), size: text.length };
    };
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const other = await put({ ...manifest, config: await put({ ...config, architecture: 'riscv64' }) });
    const index = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8'));
    index.manifests.push({ mediaType, ...other });
    await writeFile(join(layout, 'index.json'), JSON.stringify(index));
    expect((await publish(layout, 'everywhere', '1.0.0')).images).toBe(2);
  });

  test('an item configuration goes along', async () => {
    const layout = await writeImage(join(directory, 'configured'), { cmd: ['/bin/sh'] });
    const config = join(directory, 'item-config.json');
    await writeFile(config, '{"hostname": "telemetry", "qotas": {}}');
    const { stderr, code } = await ctl(
      ...['publish', layout, '--id', 'configured', '--version', '1.0.0', '--config', config],
    );
    expect([code, stderr]).toEqual([0, expect.stringMatching(/"qotas" is ignored; did you mean "quotas"/)]);
  });

  test('what is wrong with an image is said before anything is sent', async () => {
    const layout = await writeImage(join(directory, 'damaged'), {
      ...{ cmd: ['/bin/sh'], layers: [[{ name: 'file', content: 'nowhere else' }]] },
    });
    const { manifest } = await documentsOf(layout);
    const layer = (manifest.layers as { digest: string }[])[0]!.digest;
    const path = join(layout, 'blobs', 'sha256', layer.slice('sha256:'.length));
    const without = join(directory, 'without');
    await cp(layout, without, { recursive: true });
    await rm(join(without, 'blobs', 'sha256', layer.slice('sha256:'.length)));
    await expect(publish(without, 'damaged', '1.0.0')).rejects.toThrow(`has no blob ${layer}`);
    await writeFile(path, 'something else');
    await expect(publish(layout, 'damaged', '1.0.0')).rejects.toThrow(/the image is damaged/);
    await mkdir(join(directory, 'empty'));
    await expect(publish(join(directory, 'empty'), 'x', '1.0.0')).rejects.toThrow(/it has no index\.json/);
    await writeFile(join(directory, 'text.tar'), 'no archive');
    await expect(publish(join(directory, 'text.tar'), 'x', '1.0.0')).rejects.toThrow(/text\.tar/);
    await expect(publish(layout, 'x', 'first')).rejects.toThrow(/not a semantic version/);
    expect(await cloud.must('GET', '/api/items/damaged')).toEqual([]);
  });

  test('a lower version is refused in the words of the cloud', async () => {
    const layout = await writeImage(join(directory, 'lower'), { cmd: ['/bin/sh'] });
    await publish(layout, 'lower', '2.0.0');
    await expect(publish(layout, 'lower', '1.0.0')).rejects.toThrow(/version 1\.0\.0 is not higher/);
  });

  test("[W4] an author's folder is packed, with what its config.yaml says", async () => {
    const folder = join(directory, 'author');
    await mkdir(join(folder, 'meta'), { recursive: true });
    await mkdir(join(folder, 'src', 'opt'), { recursive: true });
    await writeFile(join(folder, 'src', 'opt', 'watch'), '#!/bin/sh\n', { mode: 0o755 });
    const describe = (version: string) =>
      writeFile(
        join(folder, 'meta', 'config.yaml'),
        `schemaVersion: 2
items:
  - identity: {codename: watch, title: Watch}
    version: ${version}
    images: [{sourceFolder: src, archInfo: {architecture: amd64}}]
    configuration: {cmd: /opt/watch, instances: {minInstances: 2, priority: 7, labels: [cabin]}}
`,
      );
    await describe('1.0.0');
    const first = await ctl('publish', folder);
    expect([first.code, first.stderr]).toEqual([0, '']);
    const again = JSON.parse((await ctl('publish', folder)).stdout) as Published;
    expect(again).toMatchObject({ sentBlobs: 0, indexDigest: (JSON.parse(first.stdout) as Published).indexDigest });
    await describe('1.1.0');
    // Nothing but the version has changed.
    expect(JSON.parse((await ctl('publish', folder)).stdout)).toMatchObject({ version: '1.1.0', sentBlobs: 0 });

    const unit = await ScriptedUnit.register(cloud);
    expect(await cloud.must('PUT', `${unit.path}/deployments/watch`, { version: '1.1.0' })).toMatchObject({
      ...{ numInstances: 2, priority: 7, labels: ['cabin'] },
    });
  });

  test("an author's folder without the files of an image is refused, with the places that were looked at", async () => {
    const folder = join(directory, 'no-files');
    await mkdir(folder);
    await writeFile(join(folder, 'config.yaml'), 'publish: {service_uid: x, version: 1.0.0}\nbuild: {arch: arm}\n');
    const { code, stderr } = await ctl('publish', folder);
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/files of an image are missing; expected one of .*\/src/),
    ]);
  });
});
