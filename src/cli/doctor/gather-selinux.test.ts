import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lookAtSelinux } from './gather-selinux.ts';

let kernel: string;
beforeEach(async () => {
  kernel = await mkdtemp(join(tmpdir(), 'aosctl-selinux-'));
});
afterEach(() => rm(kernel, { recursive: true, force: true }));

const LABELS: Readonly<Record<string, string>> = {
  '/labelled': 'system_u:object_r:var_t:s0',
  '/made-empty': 'system_u:object_r:unlabeled_t:s0',
  '/of-another-file-system': '?',
  '/missing': '',
};
const look = () => lookAtSelinux(Object.keys(LABELS), kernel, async (path) => LABELS[path]!);

test('[O-08] a kernel without SELinux is nothing to speak of', async () => {
  expect(await look()).toBeUndefined();
});

test.each([
  ['1', true],
  ['0\n', false],
])('[O-08] whether the policy is enforced (%j), and what has no label, is seen', async (content, isEnforced) => {
  await writeFile(join(kernel, 'enforce'), content);
  expect(await look()).toEqual({ isEnforced, unlabelled: ['/made-empty', '/of-another-file-system'] });
});

test('[O-08] of a directory that is not there no label is asked', async () => {
  await writeFile(join(kernel, 'enforce'), '1');
  expect(await lookAtSelinux(['/no/such/directory'], kernel)).toEqual({ isEnforced: true, unlabelled: [] });
});
