import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { LocalNode, type LocalNodeOptions } from './local-node.ts';
import { ProvisioningMark } from './provisioning-mark.ts';

let directory: string;
let mark: ProvisioningMark;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-mark-'));
  mark = new ProvisioningMark(directory);
});
afterEach(() => rm(directory, { recursive: true }));

/** As a process that was killed leaves them. */
async function killedUnderWay(): Promise<void> {
  await mark.remember('secret');
  await mark.set();
  await writeFile(join(directory, '.tmp-provisioning-passwords-0123456789ab'), '["secret"]');
}

test('[IAM-26] passwords of earlier tries are told, the last one first, the present one not', async () => {
  for (const [password, former] of [
    ['one', []],
    ['two', ['one']],
    ['two', ['one']],
    ['three', ['two', 'one']],
    ['four', ['three', 'two']],
  ] as const) {
    expect(await mark.remember(password)).toEqual(former);
  }
});

test('[R-01] when the provisioning is over nothing of its passwords stays, whatever a crash has left', async () => {
  await killedUnderWay();
  await mark.clear();
  expect(await readdir(directory)).toEqual([]);
});

test.each([
  ['provisioned', []],
  ['paused', []],
  [undefined, ['.tmp-provisioning-passwords-0123456789ab', 'provisioning-passwords', 'provisioning-under-way']],
])('[R-01] a node that starts as %s keeps of a provisioning: %j', async (state, kept) => {
  await killedUnderWay();
  const states = await mkdtemp(join(tmpdir(), 'aos-state-'));
  try {
    if (state) await writeFile(join(states, 'state'), state);
    const description = { nodeId: 'a' } as LocalNodeOptions['description'];
    const options = { description, statePath: join(states, 'state'), mark, logger: silentLogger };
    await LocalNode.open(options as LocalNodeOptions);
    expect((await readdir(directory)).sort()).toEqual(kept);
  } finally {
    await rm(states, { recursive: true });
  }
});
