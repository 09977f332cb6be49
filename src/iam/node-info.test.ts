import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { iam } from '../api/contracts.ts';
import { formatStoredNode, type NodeInfo, nodeInfoMessage, parseStoredNode, readNodeInfo } from './node-info.ts';

const full: NodeInfo = {
  nodeId: 'node-1',
  nodeType: 'type',
  title: 'title',
  maxDmips: 1000,
  totalRamBytes: 4096,
  physicalRamBytes: 8192,
  os: 'linux',
  osVersion: '6.1',
  osFeatures: ['a'],
  cpus: [{ modelName: 'm', numCores: 2, numThreads: 4, architecture: 'amd64', variant: 'v3', maxDmips: 7 }],
  partitions: [{ name: 'p', path: '/p', types: ['services'], totalSizeBytes: 10 }],
  attrs: { MainNode: '', AosComponents: 'iam' },
  state: 'paused',
  error: { aosCode: 6, exitCode: 22, message: 'broken' },
};

test('[IAM-18] a description survives the wire and the database', () => {
  expect(readNodeInfo(create(iam.NodeInfoSchema, nodeInfoMessage(full)))).toEqual(full);
  expect(parseStoredNode(formatStoredNode(full))).toEqual(full);
});

test('an error of a node is never sent with exit code 0, which twins take for success', () => {
  const message = nodeInfoMessage({ ...full, error: { aosCode: 9, exitCode: 0, message: 'x' } });
  expect(message.error).toMatchObject({ aosCode: 9, exitCode: 1 });
});

test('a row of the C++ program is read', () => {
  const text =
    '{"identity":{"codename":"n","title":"t"},"nodeGroupSubject":{"codename":"g"},"maxDmips":1,"totalRam":2,' +
    '"osInfo":{"os":"linux"},"cpus":[{"modelName":"m","totalNumCores":1,"totalNumThreads":2,"archInfo":{"architecture":"arm64"}}],' +
    '"attrs":{"a":"b"},"partitions":[{"name":"p","types":["generic"],"totalSize":3}],"state":"provisioned","isConnected":false}';
  expect(parseStoredNode(text)).toMatchObject({ nodeId: 'n', nodeType: 'g', state: 'provisioned', attrs: { a: 'b' } });
});

test.each([
  ['an unknown state', { nodeId: 'a', state: 'broken' }, /unknown state "broken"/],
  ['no id', { nodeId: '', state: 'paused' }, /0 characters/],
  ['a long id', { nodeId: 'x'.repeat(65), state: 'paused' }, /65 characters/],
  ['a long title', { nodeId: 'a', state: 'paused', title: 'x'.repeat(65) }, /title has 65/],
  [
    'too many attributes',
    {
      nodeId: 'a',
      state: 'paused',
      attrs: Array.from({ length: 17 }, (_, index) => ({ name: `${index}`, value: '' })),
    },
    /17 attributes/,
  ],
])('a description with %s is refused', (_, init, reason) => {
  expect(() => readNodeInfo(create(iam.NodeInfoSchema, init))).toThrow(reason);
});
