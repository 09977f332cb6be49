import { expect, test } from 'vitest';
import { simulatePlacement } from './simulated-placement.ts';

test.for([1, 2, 3])('[CM-73] two days of a unit of twelve nodes break no promise of the placement, seed %i', (seed) => {
  const result = simulatePlacement({ nodes: 12, instances: 300, days: 2, eventsPerDay: 24, seed });
  expect(result.violations).toEqual([]);
  expect(result.moves).toBeGreaterThan(0);
});
