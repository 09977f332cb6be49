import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AosError } from '../core/index.ts';
import { CHECK_PATH, type CheckReport, type Checks, checkHandlers, judgeFile } from './check.ts';
import { askControl, ControlServer } from './control.ts';

const CHECKS: Checks = {
  config: (text, path) => {
    if (text === 'bad') throw new AosError('invalidArgument', `${path}:1: expected better`);
    return text === 'odd' ? ['an odd key is ignored'] : [];
  },
};

let directory: string;
let server: ControlServer;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'check-'));
  server = await ControlServer.open(join(directory, 'daemon.sock'), checkHandlers(CHECKS));
});
afterAll(async () => {
  await server.stop();
  await rm(directory, { recursive: true, force: true });
});

test.each(['good', 'odd', 'bad'])(
  '[P-10] a daemon says of a text what its program says of the file: %s',
  async (text) => {
    const path = join(directory, 'x.cfg');
    await writeFile(path, text);
    const asked = await askControl<CheckReport>(join(directory, 'daemon.sock'), CHECK_PATH, {
      kind: 'config',
      path,
      text,
    });
    expect(asked).toEqual(await judgeFile(CHECKS, 'config', path));
    expect(asked.problem).toBe(text === 'bad' ? `${path}:1: expected better` : undefined);
    expect(asked.warnings).toEqual(text === 'odd' ? ['an odd key is ignored'] : []);
  },
);

test('a kind that nobody knows, and a question that is none', async () => {
  const ask = (body: unknown) => askControl<CheckReport>(join(directory, 'daemon.sock'), CHECK_PATH, body);
  expect((await ask({ kind: 'recipe', path: 'x', text: '' })).problem).toBe('expected one of config, found "recipe"');
  await expect(ask({ kind: 'config' })).rejects.toThrow(/expected \{"kind": "…", "path": "…", "text": "…"\}/);
});
