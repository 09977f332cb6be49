import { expect, test } from 'vitest';
import { formatMetrics } from '../daemon/index.ts';
import { metricValue, parsePrometheus } from '../daemon/metrics/prometheus-parser-for-tests.ts';
import { iamMetrics } from './metrics.ts';

test('[P-14] IAM: when the certificate in use of each type ends, and which nodes are connected', () => {
  const certificate = (type: string, notAfter: string, current: boolean) => ({
    ...{ type, notAfter, current },
    ...{ serial: '1', certUrl: '' },
  });
  const metrics = parsePrometheus(
    formatMetrics(
      iamMetrics({
        ...{
          mode: 'normal',
          node: {} as never,
          provisioningUnderWay: false,
          certificateFollowers: 1,
          instancesWithPermissions: 4,
        },
        nodes: [{ nodeId: 'main', state: 'provisioned', connected: true }],
        certificates: [
          certificate('online', '2030-01-01T00:00:00.000Z', true),
          certificate('online', '2020-01-01T00:00:00.000Z', false),
        ],
      }),
    ),
  );
  expect(metrics.get('aos_iam_certificate_expiry_timestamp_seconds')?.metrics).toHaveLength(1);
  expect(metricValue(metrics, 'aos_iam_certificate_expiry_timestamp_seconds', { type: 'online' })).toBe(1_893_456_000);
  expect(metricValue(metrics, 'aos_iam_node_connected', { node: 'main' })).toBe(1);
  expect(metricValue(metrics, 'aos_iam_instances_with_permissions')).toBe(4);
  expect(metricValue(metrics, 'aos_iam_provisioning')).toBe(0);
});
