import { expect, test } from 'vitest';
import { formatMetrics } from '../daemon/index.ts';
import { metricValue, parsePrometheus } from '../daemon/metrics/prometheus-parser-for-tests.ts';
import { type NodeMetricsFacts, nodeMetrics } from './metrics.ts';
import type { RunningInstance } from './runtime/index.ts';

const instance = (index: number, state: RunningInstance['state']): RunningInstance => ({
  ...{ id: `id-${index}`, itemId: 'web', subjectId: 's', instance: index, version: '1.0.0', state },
  ...{ because: '', bundleDir: '', logFile: '', cgroupPath: '', restarts: index },
});

const facts: NodeMetricsFacts = {
  node: {
    ...{ nodeId: 'main', nodeType: 'pc', maxDmips: 10_000, totalRam: 4096 },
    partitions: [{ name: 'data', types: [], path: '/data', totalSize: 500 }],
  },
  reading: {
    ...{ monotonicMs: 0, at: new Date(0), cpu: { idle: 700, total: 1000 }, ramBytes: 1024, partitions: { data: 50 } },
    traffic: { download: 1, upload: 2 },
    instances: new Map([
      [
        'id-0',
        {
          ...{ cpuUs: 1_500_000, ramBytes: 99, partitions: { storages: 7 }, traffic: { download: 3, upload: 4 } },
          info: {} as never,
        },
      ],
    ]),
  },
  instances: [instance(0, 'active'), instance(1, 'failed')],
  cmConnected: true,
  alerts: { sent: 5, suppressed: 6 },
};

test('[P-14] node, instances and the SM itself, under names and units that Prometheus expects', () => {
  const metrics = parsePrometheus(formatMetrics(nodeMetrics(facts)));
  const web = { item: 'web', subject: 's', instance: '0' };
  const values = (names: Record<string, Record<string, string>>) =>
    Object.fromEntries(Object.entries(names).map(([name, labels]) => [name, metricValue(metrics, name, labels)]));
  expect(
    values({
      aos_node_info: { node: 'main', node_type: 'pc' },
      aos_node_cpu_seconds_total: { mode: 'busy' },
      aos_node_cpu_capacity_dmips: {},
      aos_node_memory_used_bytes: {},
      aos_node_memory_size_bytes: {},
      aos_node_partition_used_bytes: { partition: 'data' },
      aos_node_partition_size_bytes: { partition: 'data' },
      aos_node_download_bytes_total: {},
      aos_node_upload_bytes_total: {},
      aos_instances: { state: 'failed' },
      aos_instance_info: { ...web, id: 'id-0', state: 'active', version: '1.0.0' },
      aos_instance_cpu_seconds_total: web,
      aos_instance_memory_bytes: web,
      aos_instance_partition_used_bytes: { ...web, partition: 'storages' },
      aos_instance_download_bytes_total: web,
      aos_instance_upload_bytes_total: web,
      aos_instance_restarts_total: { instance: '1' },
      aos_sm_cm_connected: {},
      aos_sm_alerts_total: {},
      aos_sm_alerts_suppressed_total: {},
    }),
  ).toEqual({
    ...{ aos_node_info: 1, aos_node_cpu_seconds_total: 3, aos_node_cpu_capacity_dmips: 10_000 },
    ...{ aos_node_memory_used_bytes: 1024, aos_node_memory_size_bytes: 4096 },
    ...{ aos_node_partition_used_bytes: 50, aos_node_partition_size_bytes: 500 },
    ...{ aos_node_download_bytes_total: 1, aos_node_upload_bytes_total: 2 },
    ...{ aos_instances: 1, aos_instance_info: 1, aos_instance_cpu_seconds_total: 1.5, aos_instance_memory_bytes: 99 },
    ...{
      aos_instance_partition_used_bytes: 7,
      aos_instance_download_bytes_total: 3,
      aos_instance_upload_bytes_total: 4,
    },
    ...{ aos_instance_restarts_total: 1, aos_sm_cm_connected: 1 },
    ...{ aos_sm_alerts_total: 5, aos_sm_alerts_suppressed_total: 6 },
  });
});

test('a node that counts no traffic has no metric of it', () => {
  const silent = { ...facts, reading: { ...facts.reading, traffic: undefined, instances: new Map() } };
  const metrics = parsePrometheus(formatMetrics(nodeMetrics(silent)));
  expect(metrics.has('aos_node_download_bytes_total')).toBe(false);
  expect(metrics.has('aos_instance_memory_bytes')).toBe(false);
});
