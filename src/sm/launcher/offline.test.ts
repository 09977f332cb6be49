import fc from 'fast-check';
import { expect, test } from 'vitest';
import { planOffline } from './offline.ts';

test('[SM-43] those whose time is over expire, the next one is waited for, those without a limit never do', () => {
  const instances = [
    { instance: 'over', ttlMs: 100 },
    { instance: 'soon', ttlMs: 250 },
    { instance: 'later', ttlMs: 900 },
    { instance: 'never', ttlMs: 0 },
  ];
  expect(planOffline(instances, 1000, 1200)).toEqual({ expired: ['over'], nextInMs: 50 });
});

test('looking again after the wait finds something expired', () =>
  fc.assert(
    fc.property(
      fc.array(fc.record({ instance: fc.nat(), ttlMs: fc.nat(10_000) })),
      fc.nat(10_000),
      (instances, nowMs) => {
        const { nextInMs } = planOffline(instances, 0, nowMs);
        if (nextInMs === undefined) return;
        expect(nextInMs).toBeGreaterThan(0);
        const later = planOffline(instances, 0, nowMs + nextInMs).expired.length;
        expect(later).toBeGreaterThan(planOffline(instances, 0, nowMs).expired.length);
      },
    ),
  ));
