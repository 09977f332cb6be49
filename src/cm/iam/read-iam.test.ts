import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { iam } from '../../api/contracts.ts';
import { readNodeInfo } from './read-iam.ts';

const errorOf = (error?: { aosCode?: number; exitCode?: number; message?: string }) =>
  readNodeInfo(create(iam.NodeInfoSchema, { nodeId: 'main', state: 'provisioned', ...(error && { error }) })).error;

test('an error of a node is one by any of its three parts; zeros are none', () => {
  expect(errorOf()).toBeUndefined();
  expect(errorOf({ aosCode: 0, exitCode: 0, message: '' })).toBeUndefined();
  expect(errorOf({ aosCode: 7 })).toMatchObject({ aosCode: 7 });
  expect(errorOf({ exitCode: 5 })).toMatchObject({ exitCode: 5 });
  expect(errorOf({ message: 'it lost its disk' })).toMatchObject({ message: 'it lost its disk' });
});
