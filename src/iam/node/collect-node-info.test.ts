import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { collectNodeInfo } from './collect-node-info.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'iam-node-'));
  await writeFile(join(directory, 'machine-id'), 'node-1\nmore\n');
  await writeFile(join(directory, 'meminfo'), 'MemTotal:        2048 kB\nMemFree:   1 kB\n');
  await writeFile(join(directory, 'cpuinfo'), 'processor: 0\nmodel name: A\n');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const config = (changes: object = {}) => ({
  provisioningStatePath: join(directory, 'state'),
  cpuInfoPath: join(directory, 'cpuinfo'),
  memInfoPath: join(directory, 'meminfo'),
  nodeIDPath: join(directory, 'machine-id'),
  nodeName: 'title',
  nodeType: 'type',
  maxDMIPS: 1000,
  attrs: { MainNode: '' },
  partitions: [{ name: 'services', path: directory, types: ['services'] }],
  ...changes,
});

test('[IAM-18] id from the file, memory from the kernel, sizes from the file systems, the rest configured', async () => {
  const info = await collectNodeInfo(config({ os: 'linux', osVersion: '6.1' }), silentLogger);
  expect(info).toMatchObject({
    nodeId: 'node-1',
    nodeType: 'type',
    title: 'title',
    maxDmips: 1000,
    totalRamBytes: 2048 * 1024,
    os: 'linux',
    osVersion: '6.1',
    attrs: { MainNode: '' },
  });
  expect(info.partitions[0]!.totalSizeBytes).toBeGreaterThan(0);
});

test('[IAM-19] a configured architecture replaces what the kernel says', async () => {
  const { cpus } = await collectNodeInfo(config({ architecture: 'riscv64', architectureVariant: 'gc' }), silentLogger);
  expect(cpus).toMatchObject([{ architecture: 'riscv64', variant: 'gc', modelName: 'A' }]);
});

test('[IAM-19] processors that cannot be read are one default CPU', async () => {
  const { cpus } = await collectNodeInfo(config({ cpuInfoPath: join(directory, 'none') }), silentLogger);
  expect(cpus).toHaveLength(1);
});

test('a partition that is not there has no size and hinders nothing', async () => {
  const partitions = [{ name: 'states', path: join(directory, 'none'), types: ['states'] }];
  expect((await collectNodeInfo(config({ partitions }), silentLogger)).partitions[0]!.totalSizeBytes).toBe(0);
});

test.each([
  ['no node id file', { nodeIDPath: '/nonexistent/id' }, 'notFound'],
  ['no memory file', { memInfoPath: '/nonexistent/mem' }, 'notFound'],
])('does not start with %s', async (_, changes, code) => {
  await expect(collectNodeInfo(config(changes), silentLogger)).rejects.toMatchObject({ code });
});

test('does not start with an empty node id or without MemTotal', async () => {
  await writeFile(join(directory, 'machine-id'), '\n');
  await expect(collectNodeInfo(config(), silentLogger)).rejects.toMatchObject({ code: 'failed' });
  await writeFile(join(directory, 'machine-id'), 'x\n');
  await writeFile(join(directory, 'meminfo'), 'MemFree: 1 kB\n');
  await expect(collectNodeInfo(config(), silentLogger)).rejects.toMatchObject({ code: 'notFound' });
});
