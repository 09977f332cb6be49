import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CgroupLayout } from '../cgroup/index.ts';
import { chooseRuntime, findProgram, needProgram } from './choose-runtime.ts';

const V2: CgroupLayout = { version: 2, trees: [{ controllers: [], mountPoint: '/sys/fs/cgroup' }] };
const HYBRID: CgroupLayout = { version: 1, trees: [], unified: '/sys/fs/cgroup/unified' };

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-choose-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function program(name: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, '#!/bin/sh\n');
  await chmod(path, 0o755);
  return path;
}

test('[SM-19] the configured program is taken, and crun is shown a host without mixed cgroups', async () => {
  const executable = await program('crun');
  expect(await chooseRuntime({ type: 'crun', executable }, HYBRID)).toMatchObject({
    name: 'crun',
    executable,
    hiddenMount: '/sys/fs/cgroup/unified',
  });
  expect((await chooseRuntime({ type: 'crun', executable }, V2)).hiddenMount).toBeUndefined();
});

test('runc needs no such help', async () => {
  const executable = await program('runc');
  expect(await chooseRuntime({ type: 'crun', executable }, HYBRID)).toMatchObject({ name: 'runc', executable });
  expect((await chooseRuntime({ type: 'runc', executable }, HYBRID)).hiddenMount).toBeUndefined();
});

test('[SM-19] a configured program that is missing is passed over, and the reason says so', async () => {
  const executable = join(directory, 'crun');
  const choice = await chooseRuntime({ type: 'crun', executable }, V2);
  expect(choice.executable).not.toBe(executable);
  expect(choice.because).toBe(`${executable} is not on this node`);
});

test('programs are found along the path only', async () => {
  const path = await program('some-tool');
  expect(await findProgram('some-tool')).toBeUndefined();
  expect(await findProgram('some-tool', `/nowhere:${directory}`)).toBe(path);
  await expect(needProgram('some-tool')).rejects.toThrow('some-tool, which is not installed');
});
