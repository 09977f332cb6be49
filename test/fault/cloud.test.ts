/** aos-cloud is killed at each of its durable writes: the next start goes on, and everything can be repeated. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CloudAccess } from '../../src/cloud/cloud-access-for-tests.ts';
import { REGISTRATION_PATH, registrationOf, ScriptedUnit } from '../../src/cloud/scripted-unit-for-tests.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'cloud', 'main.ts');
const STORY_MS = 120_000;

const POINTS = [
  ...['cloud.pki.key', 'cloud.pki.certificate'].flatMap((name) => [`${name}.written#3`, `${name}.renamed#3`]),
  ...['cloud.registration', 'cloud.item', 'cloud.message', 'cloud.item-removal'].flatMap((name) => [
    `${name}.before-commit`,
    `${name}.committed`,
  ]),
  ...['cloud.blob.written#2', 'cloud.blob.renamed#2'],
];

let directory: string;
let running: ChildProcess | undefined;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cloud-fault-'));
  await mkdir(join(directory, 'work'), { mode: 0o700 });
  const ports = { discovery: 0, webSocket: 0, rest: 0, blobs: 0 };
  const config = { workingDir: join(directory, 'work'), listenHost: '127.0.0.1', ports };
  await writeFile(join(directory, 'cloud.cfg'), JSON.stringify(config));
});

afterEach(async () => {
  running?.kill('SIGKILL');
  await rm(directory, { recursive: true, force: true });
});

/** Starts the daemon; answers its access, or undefined when it died on the way up. */
async function start(fault?: string): Promise<CloudAccess | undefined> {
  const child = spawn(process.execPath, [MAIN, '-c', join(directory, 'cloud.cfg')], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: { ...process.env, ...(fault !== undefined && { AOS_FAULT: fault }) },
  });
  running = child;
  const ready = await Promise.race([once(child, 'message').then(() => true), once(child, 'exit').then(() => false)]);
  if (!ready) return undefined;
  return new CloudAccess(directory, JSON.parse(await readFile(join(directory, 'work', 'endpoints.json'), 'utf8')));
}

type Registration = Awaited<ReturnType<typeof registrationOf>>;

/** All that is written in the life of a cloud; each step may have happened before. */
async function live(cloud: CloudAccess, { request, keys }: Registration): Promise<void> {
  const { online_certificate: cert } = await cloud.must<{ online_certificate: string }>(
    ...(['POST', REGISTRATION_PATH, request] as const),
  );
  const unit = ScriptedUnit.known(cloud, request.system_uid, { cert, key: keys.online });
  await cloud.publish('story', '1.0.0', 'the same layer each time');
  await cloud.must('PUT', `${unit.path}/deployments/story`, { version: '1.0.0' });
  try {
    await unit.discover();
    await unit.connect();
    unit.sendStatus({ isDeltaInfo: false, subjects: [{ codename: 'reported' }] });
    expect((await unit.next('desiredStatus')).data.items).toMatchObject([{ item: { id: 'story' }, version: '1.0.0' }]);
  } finally {
    unit.disconnect();
  }
  expect(await cloud.must('GET', unit.path)).toMatchObject({ subjects: [{ codename: 'reported' }] });
  await cloud.must('DELETE', `${unit.path}/deployments/story`);
  await cloud.must('DELETE', '/api/items/story/1.0.0');
}

describe('a cloud that is killed', () => {
  test.each(POINTS)(
    'at %s comes back, and what was broken off is done again',
    async (point) => {
      const registration = await registrationOf('unit-of-the-story');
      const first = await start(point);
      const child = running!;
      const died = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : Promise.resolve();
      if (first) {
        await expect(
          Promise.race([live(first, registration), died.then(() => Promise.reject(new Error('died')))]),
        ).rejects.toThrow();
        first.disconnect();
      }
      await died;
      expect(child.signalCode).toBe('SIGKILL');

      const second = await start();
      await live(second!, registration);
      second!.disconnect();
    },
    STORY_MS,
  );
});
