/** Metrics of the unit, as its CM sees it (spec/beyond.md P-14). Pure. */
import { INSTANCE_STATES, type ItemState, NODE_STATES, UPDATE_STATES } from '../core/index.ts';
import { countBy, type Metric, metric, type UnitReport } from '../daemon/index.ts';

const ITEM_STATES = ['downloading', 'pending', 'installing', 'installed', 'failed'] satisfies ItemState[];

export interface UnitMetricsFacts {
  readonly report: UnitReport;
  readonly alerts: { readonly waiting: number; readonly dropped: number; readonly duplicates: number };
}

export function unitMetrics({ report, alerts }: UnitMetricsFacts): Metric[] {
  const { cloud, update, nodes, items, instances, systemId, unitModel } = report;
  return [
    {
      ...{ name: 'aos_unit_info', help: 'This unit.', type: 'gauge' },
      samples: [{ labels: { unit: systemId, model: unitModel }, value: 1 }],
    },
    metric('gauge', 'aos_unit_cloud_connected', 'Whether the cloud is connected.', cloud.state === 'connected' ? 1 : 0),
    {
      ...{ name: 'aos_unit_update_state', help: 'State of the update: 1 for the present one.', type: 'gauge' },
      samples: UPDATE_STATES.map((state) => ({ labels: { state }, value: state === update.state ? 1 : 0 })),
    },
    {
      ...{ name: 'aos_unit_nodes', help: 'Nodes by state.', type: 'gauge' },
      samples: countBy(
        nodes.map(({ state }) => state),
        'state',
        NODE_STATES,
      ),
    },
    {
      ...{ name: 'aos_unit_node_connected', help: 'Whether the SM of a node is connected.', type: 'gauge' },
      samples: nodes.map(({ nodeId, connected }) => ({ labels: { node: nodeId }, value: connected ? 1 : 0 })),
    },
    {
      ...{ name: 'aos_unit_items', help: 'Items by state.', type: 'gauge' },
      samples: countBy(
        items.map(({ state }) => state),
        'state',
        ITEM_STATES,
      ),
    },
    {
      ...{ name: 'aos_unit_instances', help: 'Instances by state.', type: 'gauge' },
      samples: countBy(
        instances.map(({ state }) => state),
        'state',
        INSTANCE_STATES,
      ),
    },
    metric('gauge', 'aos_unit_alerts_waiting', 'Alerts that wait for the cloud.', alerts.waiting),
    metric('counter', 'aos_unit_alerts_dropped_total', 'Alerts dropped, too many waited.', alerts.dropped),
    metric(
      'counter',
      'aos_unit_alerts_duplicates_total',
      'Alerts that came again and were sent once.',
      alerts.duplicates,
    ),
  ];
}
