/** Metrics of the node and of its instances (spec/beyond.md P-14). Pure. */
import { INSTANCE_STATES } from '../core/index.ts';
import { countBy, type Metric, type MetricLabels, type MetricSample, metric } from '../daemon/index.ts';
import type { NodeInfo } from './model.ts';
import type { Reading, Traffic } from './monitoring/index.ts';
import type { RunningInstance } from './runtime/index.ts';

/** Jiffies of /proc/stat in a second: part of Linux's interface, whatever the kernel's own clock is. */
const JIFFIES_PER_SECOND = 100;

export interface NodeMetricsFacts {
  readonly node: Pick<NodeInfo, 'nodeId' | 'nodeType' | 'maxDmips' | 'totalRam' | 'partitions'>;
  readonly reading: Reading;
  readonly instances: readonly RunningInstance[];
  readonly cmConnected: boolean;
  readonly alerts: { readonly sent: number; readonly suppressed: number };
}

export function nodeMetrics(facts: NodeMetricsFacts): Metric[] {
  return [...ofNode(facts), ...ofInstances(facts), ...ofServiceManager(facts)];
}

function ofNode({ node, reading }: NodeMetricsFacts): Metric[] {
  const { cpu, traffic } = reading;
  const sizes = node.partitions.map(({ name, totalSize }) => ({ labels: { partition: name }, value: totalSize }));
  return [
    {
      ...{ name: 'aos_node_info', help: 'This node of the unit.', type: 'gauge' },
      samples: [{ labels: { node: node.nodeId, node_type: node.nodeType }, value: 1 }],
    },
    {
      ...{ name: 'aos_node_cpu_seconds_total', help: 'Time of all processors since boot.', type: 'counter' },
      samples: [
        { labels: { mode: 'busy' }, value: (cpu.total - cpu.idle) / JIFFIES_PER_SECOND },
        { labels: { mode: 'idle' }, value: cpu.idle / JIFFIES_PER_SECOND },
      ],
    },
    metric('gauge', 'aos_node_cpu_capacity_dmips', 'What all processors can do.', node.maxDmips),
    metric('gauge', 'aos_node_memory_used_bytes', 'Memory that programs use.', reading.ramBytes),
    metric('gauge', 'aos_node_memory_size_bytes', 'Memory of the node.', node.totalRam),
    {
      ...{ name: 'aos_node_partition_used_bytes', help: 'Occupied on a partition.', type: 'gauge' },
      samples: Object.entries(reading.partitions).map(([partition, value]) => ({ labels: { partition }, value })),
    },
    { name: 'aos_node_partition_size_bytes', help: 'Size of a partition.', type: 'gauge', samples: sizes },
    ...ofTraffic('aos_node', 'of the node', traffic ? [{ labels: {}, traffic }] : []),
  ];
}

function ofInstances({ reading, instances }: NodeMetricsFacts): Metric[] {
  const labelled = instances.map((instance) => ({ instance, labels: labelsOf(instance) }));
  const read = labelled.flatMap(({ instance, labels }) => {
    const found = reading.instances.get(instance.id);
    return found ? [{ labels, ...found }] : [];
  });
  const states = instances.map(({ state }) => state);
  return [
    {
      ...{ name: 'aos_instances', help: 'Instances of this node by state.', type: 'gauge' },
      samples: countBy(states, 'state', INSTANCE_STATES),
    },
    {
      ...{ name: 'aos_instance_info', help: 'An instance of this node.', type: 'gauge' },
      samples: labelled.map(({ instance: { id, version, state }, labels }) => ({
        labels: { ...labels, id, version, state },
        value: 1,
      })),
    },
    {
      ...{ name: 'aos_instance_restarts_total', help: 'Restarts since the start by the CM.', type: 'counter' },
      samples: labelled.map(({ instance: { restarts }, labels }) => ({ labels, value: restarts })),
    },
    {
      ...{ name: 'aos_instance_cpu_seconds_total', help: 'Processor time of an instance.', type: 'counter' },
      samples: read.map(({ cpuUs, labels }) => ({ labels, value: cpuUs / 1e6 })),
    },
    {
      ...{ name: 'aos_instance_memory_bytes', help: 'Memory of an instance.', type: 'gauge' },
      samples: read.map(({ ramBytes, labels }) => ({ labels, value: ramBytes })),
    },
    {
      ...{ name: 'aos_instance_partition_used_bytes', help: 'Occupied by the user of an instance.', type: 'gauge' },
      samples: read.flatMap(({ partitions, labels }): MetricSample[] =>
        Object.entries(partitions).map(([partition, value]) => ({ labels: { ...labels, partition }, value })),
      ),
    },
    ...ofTraffic('aos_instance', 'of an instance', read),
  ];
}

function ofTraffic(
  prefix: string,
  whose: string,
  counted: readonly { readonly labels: MetricLabels; readonly traffic: Traffic | undefined }[],
): Metric[] {
  const samples = (direction: keyof Traffic) =>
    counted.flatMap(({ labels, traffic }) => (traffic ? [{ labels, value: traffic[direction] }] : []));
  const help = (what: string) => `Bytes ${whose} ${what} outside; begins anew each day.`;
  return [
    { name: `${prefix}_download_bytes_total`, help: help('from'), type: 'counter', samples: samples('download') },
    { name: `${prefix}_upload_bytes_total`, help: help('to'), type: 'counter', samples: samples('upload') },
  ];
}

function ofServiceManager({ cmConnected, alerts }: NodeMetricsFacts): Metric[] {
  return [
    metric('gauge', 'aos_sm_cm_connected', 'Whether the CM is connected.', cmConnected ? 1 : 0),
    metric('counter', 'aos_sm_alerts_total', 'Alerts that were sent.', alerts.sent),
    metric('counter', 'aos_sm_alerts_suppressed_total', 'Alerts left out, too many at once.', alerts.suppressed),
  ];
}

function labelsOf({ itemId, subjectId, instance }: RunningInstance): MetricLabels {
  return { item: itemId, subject: subjectId, instance: String(instance) };
}
