import { expect, test } from 'vitest';
import { systemClock } from '../../core/index.ts';
import { InstanceAlerts } from './instance-alerts.ts';

const ident = { itemId: 'a', subjectId: 's', instance: 0, type: 'service', preinstalled: false } as const;

test('[SM-16] [SM-53] a crash is told once a minute, giving up and lack of memory always, each with its reason', () => {
  const sent: unknown[] = [];
  let nowMs = 0;
  const alerts = new InstanceAlerts({
    clock: { ...systemClock, monotonicMs: () => nowMs },
    versionOf: () => '1.0.0',
    send: ({ value }) => sent.push((value as { AlertItem: { value: { message: string } } }).AlertItem.value.message),
  });
  const exit = (because: string, more: object = {}) =>
    alerts.take({ ident, because, crash: { outOfMemory: false, gaveUp: false, ...more } });
  exit('first');
  nowMs = 59_000;
  exit('hidden');
  exit('memory', { outOfMemory: true });
  exit('gave up', { gaveUp: true });
  nowMs = 200_000;
  exit('later');
  alerts.take({ ident, because: 'stopped on request' });
  exit('x'.repeat(300), { gaveUp: true });
  expect(sent).toEqual(['first', 'memory', 'gave up', 'later', 'x'.repeat(255)]);
});
