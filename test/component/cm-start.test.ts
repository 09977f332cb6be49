/** aos-cm as a process of its own, without anything around it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { askControl, type UnitReport } from '../../src/daemon/index.ts';
import { makeCertificate } from '../../src/storage/certificates-for-tests.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'cm', 'main.ts');
const STORY_MS = 60_000;

let directory: string;
let running: ChildProcess | undefined;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cm-start-'));
  await writeFile(join(directory, 'root.pem'), (await makeCertificate('root', { ca: true })).pem);
  const config = {
    caCert: join(directory, 'root.pem'),
    certStorage: 'cm',
    workingDir: join(directory, 'work'),
    // Nobody listens there.
    iamPublicServerUrl: '127.0.0.1:9',
    iamProtectedServerUrl: '127.0.0.1:9',
    cmServerUrl: '127.0.0.1:0',
    fileServerUrl: '127.0.0.1:0',
    controlSocket: join(directory, 'cm.sock'),
  };
  await writeFile(join(directory, 'cm.cfg'), JSON.stringify(config));
});

afterEach(async () => {
  running?.kill('SIGKILL');
  running = undefined;
  await rm(directory, { recursive: true, force: true });
});

test(
  'a CM whose IAM does not answer is ready, says what it waits for, and stops in order when it is told',
  async () => {
    const child = spawn(process.execPath, [MAIN, '-c', join(directory, 'cm.cfg')], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    running = child;
    await once(child, 'message');
    const report = await vi.waitFor(() => askControl<UnitReport>(join(directory, 'cm.sock'), '/status'));
    expect(report.waitsFor).toMatch(/127\.0\.0\.1:9/);
    await expect(askControl(join(directory, 'cm.sock'), '/why', { name: 'update' })).rejects.toThrow(
      /aos-cm is not ready; it waits for .*127\.0\.0\.1:9/,
    );
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await gone).toEqual([0, null]);
    expect(await readdir(directory)).not.toContain('cm.sock');
  },
  STORY_MS,
);

test(
  '--reset deletes nothing and names what a reset is about',
  async () => {
    const { status, stdout } = spawnSync(process.execPath, [MAIN, '--reset', '-c', join(directory, 'cm.cfg')], {
      encoding: 'utf8',
    });
    expect(status).toBe(0);
    for (const name of ['aos-cm.db', 'install', 'download', 'storages', 'states', 'aos_unit.cfg']) {
      expect(stdout).toContain(join(directory, 'work', name));
    }
    expect(await readdir(directory)).toEqual(['cm.cfg', 'root.pem']);
  },
  STORY_MS,
);
