import { expect, test } from 'vitest';
import { damageAlert } from './damage-alert.ts';

test('[SM-08] damage on the disk is told with item, version and what is wrong, in what a twin can read', () => {
  const alert = damageAlert({ itemId: 'mosquitto', version: '1.0.0' }, `layer ${'x'.repeat(300)}`, new Date(1_500));
  expect(alert).toMatchObject({
    case: 'alert',
    value: { timestamp: { seconds: 1n, nanos: 500_000_000 }, AlertItem: { case: 'coreAlert' } },
  });
  const { AlertItem } = alert.value as { AlertItem: { value: { message: string } } };
  expect(AlertItem.value.message).toMatch(/^item mosquitto 1\.0\.0 is damaged on the disk: layer x+/);
  expect(Buffer.byteLength(AlertItem.value.message)).toBeLessThanOrEqual(255);
});
