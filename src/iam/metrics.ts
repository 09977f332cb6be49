/** Metrics of IAM: above all, how long its certificates last (spec/beyond.md P-14). Pure. */
import { type Metric, metric } from '../daemon/index.ts';
import type { IamStatus } from './servers/status.ts';

export function iamMetrics({
  certificates,
  nodes,
  instancesWithPermissions,
  provisioningUnderWay,
}: IamStatus): Metric[] {
  const current = certificates.filter((certificate) => certificate.current);
  return [
    {
      name: 'aos_iam_certificate_expiry_timestamp_seconds',
      help: 'End of the certificate in use, in seconds since 1970.',
      type: 'gauge',
      samples: current.map(({ type, notAfter }) => ({ labels: { type }, value: Date.parse(notAfter) / 1000 })),
    },
    {
      ...{ name: 'aos_iam_node_connected', help: 'Whether a node of the unit is connected.', type: 'gauge' },
      samples: nodes.map(({ nodeId, state, connected }) => ({
        labels: { node: nodeId, state },
        value: connected ? 1 : 0,
      })),
    },
    metric('gauge', 'aos_iam_instances_with_permissions', 'Instances with permissions.', instancesWithPermissions),
    metric('gauge', 'aos_iam_provisioning', 'Whether keys wait for certificates.', provisioningUnderWay ? 1 : 0),
  ];
}
