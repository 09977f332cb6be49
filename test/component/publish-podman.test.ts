/** aosctl publish of images that podman made, in each form in which it gives them away. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { debianEnvironment, debianProgram } from '../../devenv/debian-programs.ts';
import { aosctl } from '../../src/cli/program.ts';
import { TestCloud } from '../../src/cloud/cloud-for-tests.ts';

const STORY_MS = 120_000;
/** Two layers, of which none has to be run. */
const CONTAINERFILE = `FROM scratch
COPY app /app
COPY data /data
ENV GREETING=hello
ENTRYPOINT ["/app/run"]
`;

const run = promisify(execFile);

let cloud: TestCloud;
let directory: string;
const at = (name: string): string => join(directory, name);

/** With storage of its own, which ends with the test. */
async function podman(...args: readonly string[]): Promise<void> {
  const around = [
    ...['--root', at('storage'), '--runroot', at('run'), '--tmpdir', at('tmp')],
    ...['--storage-driver', 'vfs', '--cgroup-manager', 'cgroupfs', '--events-backend', 'none'],
  ];
  const env = { ...process.env, ...debianEnvironment() };
  await run(debianProgram('/usr/bin/podman'), [...around, ...args], { env, cwd: directory });
}

beforeAll(async () => {
  [cloud, directory] = await Promise.all([TestCloud.start(), mkdtemp(join(tmpdir(), 'aos-podman-'))]);
  for (const [folder, file, content] of [
    ['app', 'run', '#!/bin/sh\necho "$GREETING"\n'],
    ['data', 'text', 'data of the first version'],
  ] as const) {
    await mkdir(at(folder));
    await writeFile(join(at(folder), file), content, { mode: 0o755 });
  }
  await writeFile(at('Containerfile'), CONTAINERFILE);
  await podman('build', '--quiet', '--isolation', 'chroot', '--network', 'host', '--layers', '--tag', 'web:1', '.');
}, STORY_MS);

afterAll(async () => {
  await cloud.close();
  await rm(directory, { recursive: true, force: true });
});

interface Answer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function publish(path: string, id: string, ...more: readonly string[]): Promise<Answer> {
  const pki = join(cloud.directory, 'work', 'pki');
  const around = [
    ...['--json', '--cloud', cloud.endpoints.restUrl, '--ca', join(pki, 'root.pem')],
    ...['--cert', join(pki, 'operator.pem'), '--key', join(pki, 'operator-key.pem')],
  ];
  const said = { stdout: '', stderr: '' };
  const into = (stream: keyof typeof said) => ({
    write: (text: string) => {
      said[stream] += text;
    },
  });
  const code = await aosctl([...around, 'publish', path, '--id', id, '--version', '1.0.0', ...more], {
    ...{ stdout: into('stdout'), stderr: into('stderr'), env: {}, signal: new AbortController().signal },
  });
  return { code, ...said };
}

/** What the cloud has of it. */
async function indexOf(path: string, id: string, ...more: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await publish(path, id, ...more);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const published = JSON.parse(stdout) as { readonly indexDigest: string; readonly images: number };
  expect(published.images).toBe(1);
  return published.indexDigest;
}

describe('[P-06] an image of podman', { timeout: STORY_MS }, () => {
  test('is the same item as archive of save, as folder of save and as layout of push', async () => {
    await podman('save', '--quiet', '--format', 'oci-archive', '--output', at('saved.tar'), 'web:1');
    await podman('save', '--quiet', '--format', 'oci-dir', '--output', at('saved'), 'web:1');
    await podman('push', '--quiet', 'web:1', `oci:${at('pushed')}:1`);
    await podman('push', '--quiet', 'web:1', `oci-archive:${at('pushed.tar')}:1`);
    const digests = [];
    for (const name of ['saved.tar', 'saved', 'pushed', 'pushed.tar']) digests.push(await indexOf(at(name), 'web'));
    expect(new Set(digests).size).toBe(1);
  });

  test('is published from an archive in the form of Docker, as `podman save` makes it when nothing is said', async () => {
    await podman('save', '--quiet', '--format', 'docker-archive', '--output', at('docker.tar'), 'web:1');
    await podman('save', '--quiet', '--output', at('default.tar'), 'web:1');
    expect(await indexOf(at('docker.tar'), 'docker')).toBe(await indexOf(at('default.tar'), 'docker'));
  });

  test('of an archive with several is chosen by its tag', async () => {
    await podman('tag', 'web:1', 'web:2');
    await podman('save', '--quiet', '--multi-image-archive', '--output', at('several.tar'), 'web:1', 'web:2');
    const said = await publish(at('several.tar'), 'several');
    expect(said.stderr).toMatch(/several tags; choose one with --tag: localhost\/web:1, localhost\/web:2/);
    expect(said.code).toBe(2);
    await indexOf(at('several.tar'), 'several', '--tag', 'localhost/web:2');
  });
});
