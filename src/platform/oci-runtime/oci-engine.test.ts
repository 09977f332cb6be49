/** The same promises by crun and by runc. Needs root, conmon, busybox, and both runtimes. */
import { randomUUID } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { Cgroups } from '../cgroup/index.ts';
import { cgroupsOf, identifyProcess } from '../proc/index.ts';
import { needProgram } from './choose-runtime.ts';
import { readExitFile, watchExitDirectory } from './exit-file.ts';
import { createOciEngine, type OciEngine } from './oci-engine.ts';

const cgroups = new Cgroups();
const patience = () => AbortSignal.timeout(30_000);

describe.each(['crun', 'runc'])('[SM-19] containers by %s', (type) => {
  let directory: string;
  let group: string;
  let engine: OciEngine;
  const ids: string[] = [];
  /** Of the containers that are run. */
  let hooks: object;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'aos-engine-'));
    group = `/aos-test-${randomUUID()}`;
    hooks = {};
    engine = await createOciEngine({
      wish: { type },
      stateRoot: join(directory, 'state'),
      cgroups,
      helperCgroup: `${group}/helpers`,
      log: 'file',
      logger: silentLogger,
    });
    for (const name of ['bin', 'dev', 'proc']) mkdirSync(join(directory, 'rootfs', name), { recursive: true });
    copyFileSync('/bin/busybox', join(directory, 'rootfs', 'bin', 'busybox'));
    symlinkSync('busybox', join(directory, 'rootfs', 'bin', 'sh'));
  });

  afterEach(async () => {
    for (const id of ids.splice(0)) await engine.abandon(id, join(directory, id), patience());
    await engine.close();
    await untilGone();
    cgroups.remove(group);
    await rm(directory, { recursive: true, force: true });
  });

  /** Helpers end a moment after their container. */
  async function untilGone(): Promise<void> {
    const signal = patience();
    while (cgroups.processes(group).length > 0) {
      signal.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async function run(...args: string[]): Promise<{ id: string; pid: number; exitDir: string; logFile: string }> {
    const id = randomUUID();
    ids.push(id);
    const bundleDir = join(directory, id);
    const exitDir = join(bundleDir, 'exit');
    const logFile = join(bundleDir, 'log');
    mkdirSync(exitDir, { recursive: true });
    const config = {
      ociVersion: '1.0.2',
      hooks,
      process: { user: { uid: 0, gid: 0 }, args, cwd: '/', env: ['PATH=/bin'], noNewPrivileges: true },
      root: { path: join(directory, 'rootfs') },
      mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
      linux: {
        cgroupsPath: `${group}/${id}`,
        namespaces: ['pid', 'mount', 'ipc', 'uts', 'network'].map((namespace) => ({ type: namespace })),
      },
    };
    writeFileSync(join(bundleDir, 'config.json'), JSON.stringify(config));
    const pid = await engine.run({ id, bundleDir, exitDir, logFile }, patience());
    return { id, pid, exitDir, logFile };
  }

  async function exitOf({ id, exitDir }: { id: string; exitDir: string }): Promise<number> {
    for (;;) {
      const happened = Promise.withResolvers<void>();
      const unwatch = watchExitDirectory(exitDir, happened.resolve);
      const exit = readExitFile(exitDir, id);
      if (!exit) await happened.promise;
      unwatch();
      if (exit) return exit.status;
    }
  }

  test('run, are known, take commands, and are removed with everything of theirs', async () => {
    const { id, pid } = await run('/bin/busybox', 'sleep', '1000');
    expect(identifyProcess(pid)).toBeDefined();
    expect(cgroupsOf(pid)).toContain(`${group}/${id}`);
    expect(await engine.list()).toEqual([id]);
    expect(await engine.exec(id, ['/bin/sh', '-c', 'echo $$; exit 3'], patience())).toMatchObject({ exitCode: 3 });
    await engine.remove(id, patience());
    expect(await engine.list()).toEqual([]);
    expect(identifyProcess(pid)).toBeUndefined();
    await engine.remove(id, patience());
  });

  test('[B-01] are made by crun from a copy in memory, which it does not execute once more', async () => {
    const executed = join(directory, 'executed');
    hooks = { createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', `readlink /proc/$PPID/exe >${executed}`] }] };
    await run('/bin/busybox', 'sleep', '1000');
    const expected = type === 'crun' ? '/memfd:crun (deleted)' : realpathSync(await needProgram(type));
    expect(readFileSync(executed, 'utf8').trim()).toBe(expected);
  });

  test('leave their exit status and what they said', async () => {
    const container = await run('/bin/sh', '-c', 'echo hello; exit 3');
    expect(await exitOf(container)).toBe(3);
    expect(readFileSync(container.logFile, 'utf8')).toMatch(/^\S+ stdout F hello\n$/);
  });

  test('that a signal ends have 128 and its number as status', async () => {
    const container = await run('/bin/busybox', 'sleep', '1000');
    process.kill(container.pid, 'SIGKILL');
    expect(await exitOf(container)).toBe(137);
  });

  test('that cannot start say why, and leave nothing', async () => {
    await expect(run('/bin/nothing')).rejects.toThrow('/bin/nothing');
    expect(await engine.list()).toEqual([]);
    expect(existsSync(join(directory, 'state', ids[0]!))).toBe(false);
  });

  test('[SM-14] have their helper outside of our cgroup', async () => {
    const { id } = await run('/bin/busybox', 'sleep', '1000');
    const conmon = Number(readFileSync(join(directory, id, 'conmon.pid'), 'utf8'));
    expect(cgroupsOf(conmon)).toContain(`${group}/helpers`);
    await engine.remove(id, patience());
  });

  test('whose start nobody waits for any more are abandoned', async () => {
    const id = randomUUID();
    await expect(
      engine.run(
        { id, bundleDir: directory, exitDir: directory, logFile: join(directory, 'log') },
        AbortSignal.abort(),
      ),
    ).rejects.toMatchObject({ code: 'canceled' });
  });
});
