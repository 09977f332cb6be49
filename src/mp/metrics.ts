/** Metrics of the connection between proxy and peer (spec/beyond.md P-14). Pure. */
import { type Metric, metric } from '../daemon/index.ts';
import type { LinkReport } from './wire/index.ts';

export function linkMetrics({ state, dropped }: LinkReport): Metric[] {
  return [
    metric('gauge', 'aos_proxy_connected', 'Whether proxy and peer are connected.', state === 'connected' ? 1 : 0),
    {
      name: 'aos_proxy_dropped_frames',
      help: 'Frames of the present connection that were received and not delivered.',
      type: 'gauge',
      samples: Object.entries(dropped ?? {}).map(([reason, value]) => ({ labels: { reason }, value: Number(value) })),
    },
  ];
}
