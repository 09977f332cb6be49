import { beforeEach, describe, expect, test, vi } from 'vitest';
import { type InstanceIdent, type InstanceState, silentLogger } from '../../core/index.ts';
import type { MonitoringData } from '../../protocol/index.ts';
import { RecordingLink } from '../link/recording-link-for-tests.ts';
import type { InstanceStatus, NodeInfo } from '../model.ts';
import { Event, type NodeMonitoring, type Usage } from '../nodes/index.ts';
import { MonitoringReports } from './index.ts';
import { MonitoringCache } from './monitoring-cache.ts';

const AT = new Date('2026-05-04T10:19:35.000Z');

const usage = (ram: number): Usage => ({
  timestamp: AT,
  ram,
  cpu: 3120.6,
  download: 52000,
  upload: 8100,
  partitions: [{ name: 'storages', usedSize: 9 }],
});

const ident = (itemId: string, preinstalled = false): InstanceIdent => ({
  itemId,
  subjectId: 's',
  instance: 0,
  type: 'service',
  preinstalled,
});

const monitoring = (ram: number, items: readonly string[] = []): NodeMonitoring => ({
  nodeId: 'node-a',
  node: usage(ram),
  instances: items.map((itemId) => ({ ident: ident(itemId), runtimeId: 'r', usage: usage(ram) })),
});

const LIMITS = { samplesPerEntry: 16, nodes: 2, instances: 3, instancesPerMessage: 2 };

describe('the cache', () => {
  test('[CM-120] samples and states become one message in the words of the cloud', () => {
    const cache = new MonitoringCache(LIMITS);
    cache.addNodeState('node-a', 'provisioned', true, AT);
    cache.addSamples(monitoring(7), AT);
    cache.addInstanceState(ident('i', true), 'node-a', 'active', AT);
    const at = '2026-05-04T10:19:35.000000Z';
    expect(cache.take()).toEqual([
      {
        messageType: 'monitoringData',
        nodes: [
          {
            node: { codename: 'node-a' },
            nodeStates: [{ timestamp: at, state: 'provisioned', isConnected: true }],
            items: [
              {
                timestamp: at,
                ram: 7,
                cpu: 3121,
                download: 52000,
                upload: 8100,
                partitions: [{ name: 'storages', usedSize: 9 }],
              },
            ],
          },
        ],
        instances: [
          {
            item: { codename: 'i' },
            subject: { codename: 's' },
            instance: 0,
            node: { codename: 'node-a' },
            itemStates: [{ timestamp: at, state: 'active' }],
            items: [],
          },
        ],
      },
    ]);
    expect(cache.isEmpty).toBe(true);
  });

  test('[CM-121] the oldest samples give way, equal states are kept once', () => {
    const cache = new MonitoringCache(LIMITS);
    for (let ram = 0; ram < 20; ram += 1) cache.addSamples(monitoring(ram), AT);
    for (const connected of [true, true, false, true]) cache.addNodeState('node-a', 'provisioned', connected, AT);
    const [node] = cache.take()[0]!.nodes;
    expect(node!.items.map(({ ram }) => ram)).toEqual(Array.from({ length: 16 }, (_, index) => index + 4));
    expect(node!.nodeStates!.map(({ isConnected }) => isConnected)).toEqual([true, false, true]);
  });

  test('what is more than the limits is left out; many instances are spread over messages', () => {
    const cache = new MonitoringCache(LIMITS);
    expect(cache.addSamples(monitoring(1, ['a', 'b', 'c']), AT)).toBe(true);
    expect(cache.addSamples(monitoring(1, ['d']), AT)).toBe(false);
    expect(cache.take().map(({ nodes, instances }) => [nodes.length, instances?.length])).toEqual([
      [1, 2],
      [0, 1],
    ]);
  });
});

describe('the reports', () => {
  let link: RecordingLink;
  let samples: Event<NodeMonitoring>;
  let nodes: Event<NodeInfo>;
  let instances: Event<readonly InstanceStatus[]>;

  beforeEach(() => {
    link = new RecordingLink();
    samples = new Event('monitoring', silentLogger);
    nodes = new Event('nodes', silentLogger);
    instances = new Event('instances', silentLogger);
  });

  function open(): MonitoringReports {
    const reports = new MonitoringReports({
      link,
      onMonitoring: samples.subscribe,
      onNode: nodes.subscribe,
      onInstances: instances.subscribe,
      sendPeriodMs: 5,
      logger: silentLogger,
    });
    reports.start();
    return reports;
  }

  const status = (state: InstanceState): InstanceStatus => ({
    ident: ident('i'),
    version: '1',
    nodeId: 'node-a',
    runtimeId: 'r',
    manifestDigest: '',
    state,
  });

  test('[CM-120] each period what has gathered is sent', async () => {
    const reports = open();
    samples.emit(monitoring(1));
    instances.emit([status('activating')]);
    instances.emit([status('active')]);
    await vi.waitFor(() => expect(link.sent).toHaveLength(1));
    const [message] = link.sent as MonitoringData[];
    expect(message!.instances![0]!.itemStates.map(({ state }) => state)).toEqual(['activating', 'active']);
    samples.emit(monitoring(2));
    await vi.waitFor(() => expect(link.sent).toHaveLength(2));
    reports.stop();
    samples.emit(monitoring(3));
    expect(link.sent).toHaveLength(2);
  });

  test('[CM-121] while offline samples are kept, and sent when the link is back', async () => {
    link.setConnected(false);
    const reports = open();
    samples.emit(monitoring(1));
    await new Promise((resolve) => setTimeout(resolve, 20));
    samples.emit(monitoring(2));
    expect(link.sent).toEqual([]);
    link.setConnected(true);
    await vi.waitFor(() => expect(link.sent).toHaveLength(1));
    expect((link.sent[0] as MonitoringData).nodes[0]!.items.map(({ ram }) => ram)).toEqual([1, 2]);
    reports.stop();
  });
});
