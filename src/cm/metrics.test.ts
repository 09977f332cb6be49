import { expect, test } from 'vitest';
import { formatMetrics, type UnitReport } from '../daemon/index.ts';
import { metricValue, parsePrometheus } from '../daemon/metrics/prometheus-parser-for-tests.ts';
import { unitMetrics } from './metrics.ts';

test('[P-14] the unit: its cloud, its nodes, items, instances and alerts', () => {
  const report: UnitReport = {
    ...{ systemId: 'unit-1', unitModel: 'm;1.0', update: { state: 'launching', since: '' } },
    ...{ cloud: { state: 'connected', since: '' }, unitConfig: { state: 'absent' } },
    nodes: [
      { nodeId: 'main', nodeType: '', title: '', state: 'provisioned', connected: true, runtimes: [] },
      { nodeId: 'second', nodeType: '', title: '', state: 'provisioned', connected: false, runtimes: [] },
    ],
    items: [{ itemId: 'a', type: 'service', version: '1', state: 'failed' }],
    instances: [],
  };
  const metrics = parsePrometheus(
    formatMetrics(unitMetrics({ report, alerts: { waiting: 1, dropped: 2, duplicates: 3 } })),
  );
  const read = (name: string, labels?: Record<string, string>) => metricValue(metrics, name, labels);
  expect(read('aos_unit_info', { unit: 'unit-1', model: 'm;1.0' })).toBe(1);
  expect(read('aos_unit_cloud_connected')).toBe(1);
  expect([
    read('aos_unit_update_state', { state: 'launching' }),
    read('aos_unit_update_state', { state: 'none' }),
  ]).toEqual([1, 0]);
  expect(read('aos_unit_nodes', { state: 'provisioned' })).toBe(2);
  expect(read('aos_unit_node_connected', { node: 'second' })).toBe(0);
  expect(read('aos_unit_items', { state: 'failed' })).toBe(1);
  expect(read('aos_unit_instances', { state: 'active' })).toBe(0);
  expect(read('aos_unit_alerts_waiting')).toBe(1);
  expect(read('aos_unit_alerts_dropped_total')).toBe(2);
  expect(read('aos_unit_alerts_duplicates_total')).toBe(3);
});
