/** Needs root: a network namespace is made and removed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { OwnNetwork } from './own-network.ts';

test('what still runs in a network of its own ends with it', async () => {
  const root = await mkdtemp(join(tmpdir(), 'aos-network-'));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  const layout = { root, run: join(root, 'run'), var: join(root, 'var') };
  const network = await OwnNetwork.create({ layout, inward: [1], outward: [] });
  const left = spawn('ip', ['netns', 'exec', network.namespace, 'sh', '-c', 'echo runs; exec sleep 1000'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await once(left.stdout, 'data');
  const ended = once(left, 'exit');

  await network.remove();

  expect(await ended).toEqual([null, 'SIGKILL']);
  expect(existsSync(join('/run/netns', network.namespace))).toBe(false);
});
