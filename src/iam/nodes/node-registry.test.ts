import { beforeEach, expect, test } from 'vitest';
import { AosError, type Clock, silentLogger } from '../../core/index.ts';
import type { NodeInfo } from '../node-info.ts';
import { NodeRegistry, type NodeStore } from './node-registry.ts';

let nowMs: number;
let rows: Map<string, NodeInfo>;
let writes: number;
let registry: NodeRegistry;
let isFull: boolean;
let sleepers: (() => void)[];

const clock: Clock = {
  monotonicMs: () => nowMs,
  now: () => new Date(nowMs),
  sleep: () => new Promise((resolve) => sleepers.push(resolve)),
};
const store: NodeStore = {
  nodes: () => [...rows.values()],
  saveNode: (info) => {
    if (isFull) throw new AosError('noMemory', 'not enough space', { exitCode: 28 });
    writes += 1;
    rows.set(info.nodeId, info);
  },
  removeNode: (nodeId) => {
    if (isFull) throw new AosError('noMemory', 'not enough space', { exitCode: 28 });
    rows.delete(nodeId);
  },
};
const open = () => {
  registry = new NodeRegistry(store, clock, silentLogger);
};

beforeEach(() => {
  nowMs = 0;
  writes = 0;
  rows = new Map();
  isFull = false;
  sleepers = [];
  open();
});

const info = (nodeId: string, changes: Partial<NodeInfo> = {}): NodeInfo => ({
  nodeId,
  nodeType: '',
  title: '',
  maxDmips: 0,
  totalRamBytes: 0,
  os: '',
  osFeatures: [],
  cpus: [],
  partitions: [],
  attrs: {},
  state: 'provisioned',
  ...changes,
});

test('[IAM-20] provisioned nodes outlive a restart as not connected, unprovisioned ones do not', () => {
  registry.set(info('a'), true);
  registry.set(info('b', { state: 'unprovisioned' }), true);
  registry.setState('a', 'paused');
  open();
  expect(registry.list()).toMatchObject([{ info: { nodeId: 'a', state: 'paused' }, connected: false }]);
  registry.setState('a', 'unprovisioned');
  expect(rows.size).toBe(0);
});

test('[IAM-24] [IAM-25] one notification per real change, the connection included; one write per real news', () => {
  const heard: string[] = [];
  registry.onChange((entry) => heard.push(`${entry.info.state} ${entry.connected}`));
  registry.set(info('a'), true);
  registry.set(info('a'), true);
  registry.setConnected('a', false);
  registry.setConnected('a', false);
  registry.set(info('a'), true);
  registry.setState('a', 'provisioned');
  expect(heard).toEqual(['provisioned true', 'provisioned false', 'provisioned true']);
  expect(writes).toBe(1);
});

test('unknown nodes are not found', () => {
  for (const call of [
    () => registry.get('x'),
    () => registry.setState('x', 'paused'),
    () => registry.setConnected('x', true),
    () => registry.forget('x'),
  ]) {
    expect(call).toThrow(expect.objectContaining({ code: 'notFound' }));
  }
});

test('an unprovisioned node is forgotten five minutes after it went; a provisioned one never', () => {
  registry.set(info('a', { state: 'unprovisioned' }), true);
  registry.set(info('b'), true);
  registry.setConnected('a', false);
  registry.setConnected('b', false);
  nowMs = 299_999;
  expect(registry.list()).toHaveLength(2);
  nowMs = 300_000;
  expect(registry.list().map((entry) => entry.info.nodeId)).toEqual(['b']);
});

test('strangers cannot fill the registry: sixteen wait, the seventeenth is refused, nodes of the unit have room', () => {
  for (let index = 0; index < 16; index += 1) registry.set(info(`n${index}`, { state: 'unprovisioned' }), true);
  expect(() => registry.set(info('n16', { state: 'unprovisioned' }), true)).toThrow(
    expect.objectContaining({ code: 'noMemory' }),
  );
  registry.set(info('own'), true);
});

test('an operator can make it forget a node that will not come back', () => {
  registry.set(info('a'), true);
  expect(() => registry.forget('a')).toThrow(expect.objectContaining({ code: 'wrongState' }));
  registry.setConnected('a', false);
  registry.forget('a');
  expect(rows.size).toBe(0);
  expect(registry.find('a')).toBeUndefined();
});

test('[R-02] [IAM-24] what a full disk does not take holds, is told, and is stored when there is room', async () => {
  registry.set(info('a'), true);
  registry.set(info('b'), true);
  const heard: string[] = [];
  registry.onChange((entry) => heard.push(`${entry.info.nodeId} ${entry.info.state}`));
  isFull = true;
  registry.setState('a', 'paused');
  registry.setState('b', 'unprovisioned');
  registry.set(info('c'), true);
  expect(heard).toEqual(['a paused', 'b unprovisioned', 'c provisioned']);
  expect(registry.get('a').info.state).toBe('paused');
  const stored = () => [...rows.values()].map(({ nodeId, state }) => `${nodeId} ${state}`);
  const wake = async () => {
    for (const resolve of sleepers.splice(0)) resolve();
    await new Promise((resolve) => setImmediate(resolve));
  };
  await wake();
  expect(stored()).toEqual(['a provisioned', 'b provisioned']);
  isFull = false;
  await wake();
  expect(stored()).toEqual(['a paused', 'c provisioned']);
  expect(sleepers, 'nothing is left to be stored').toEqual([]);
  expect(heard).toHaveLength(3);
});
