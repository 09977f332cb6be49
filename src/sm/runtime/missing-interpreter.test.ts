import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { interpreterOf, missingInterpreter } from './missing-interpreter.ts';

let bundle: string;
beforeEach(async () => {
  bundle = await mkdtemp(join(tmpdir(), 'aos-interpreter-'));
});
afterEach(() => rm(bundle, { recursive: true, force: true }));

/** A bundle with files in its root, whose first process is this command. */
async function given(args: readonly string[], files: Record<string, string | Buffer>, mounts: object[] = []) {
  const root = join(bundle, 'rootfs');
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    if (typeof content === 'string' && content.startsWith('-> ')) await symlink(content.slice(3), join(root, path));
    else await writeFile(join(root, path), content);
  }
  const process = { args, env: ['PATH=/usr/bin:/bin'], cwd: '/srv' };
  await writeFile(join(bundle, 'config.json'), JSON.stringify({ process, root: { path: root }, mounts }));
}

const SCRIPT = '#! /bin/bash -e\necho';

test.each<[string, string[], Record<string, string>, string | undefined]>([
  ['an interpreter that is missing', ['/run'], { run: SCRIPT }, '/run needs /bin/bash, which is not there'],
  ['an interpreter that is there', ['/run'], { run: SCRIPT, 'bin/bash': 'text' }, undefined],
  ['a command along the path', ['run'], { 'usr/bin/run': SCRIPT }, '/usr/bin/run needs /bin/bash, which is not there'],
  ['a command from its directory', ['./run'], { 'srv/run': SCRIPT }, '/srv/run needs /bin/bash, which is not there'],
  ['links that lead on inside', ['/run'], { run: SCRIPT, bin: '-> usr/bin', 'usr/bin/bash': 'text' }, undefined],
  [
    'a link to the root of the host',
    ['/run'],
    { run: SCRIPT, bin: '-> /usr/../bin2' },
    '/run needs /bin/bash, which is not there',
  ],
  ['links in a circle', ['/run'], { run: SCRIPT, bin: '-> bin' }, '/run needs /bin/bash, which is not there'],
  [
    'an interpreter with one of its own',
    ['/run'],
    { run: SCRIPT, 'bin/bash': '#!/x' },
    '/bin/bash needs /x, which is not there',
  ],
  ['a command that is missing', ['/run'], {}, undefined],
])('[P-18] %s', async (_, args, files, expected) => {
  await given(args, files);
  expect(missingInterpreter(bundle, 1)).toBe(expected);
});

test('[P-18] what is mounted from the host counts', async () => {
  const mounts = ['/bin', '/usr', '/lib', '/lib64']
    .filter((path) => existsSync(path))
    .map((path) => ({ destination: path, type: 'bind', source: path, options: ['bind', 'ro'] }));
  await given(['/run'], { run: '#!/bin/sh\n' }, mounts);
  expect(missingInterpreter(bundle, 127)).toBeUndefined();
  await given(['/run'], { run: '#!/bin/no-such-shell\n' }, mounts);
  expect(missingInterpreter(bundle, 127)).toBe('/run needs /bin/no-such-shell, which is not there');
});

test('[P-18] a program without its loader', async () => {
  const node = await readFile(process.execPath);
  const loader = interpreterOf(node.subarray(0, 4096))!;
  expect(loader).toMatch(/^\/lib.*\/ld-linux.*\.so/);
  await given(['/node'], { node });
  expect(missingInterpreter(bundle, 1)).toBe(`/node needs ${loader}, which is not there`);
  expect(missingInterpreter(bundle, 3), 'its own exit code').toBeUndefined();
});

test('what is no bundle, or no program, explains nothing', async () => {
  expect(missingInterpreter(join(bundle, 'none'), 1)).toBeUndefined();
  expect(interpreterOf(Buffer.from(''))).toBeUndefined();
  expect(interpreterOf(Buffer.concat([Buffer.from('\x7fELF\x02\x01'), Buffer.alloc(80, 0xff)]))).toBeUndefined();
});
