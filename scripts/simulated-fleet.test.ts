import { expect, test } from 'vitest';
import { simulateFleet } from './simulated-fleet.ts';

test('a small simulated fleet connects, tells of itself, and acknowledges a deployment', async () => {
  const result = await simulateFleet({ units: 12, parallel: 4, settleMs: 1, patienceMs: 60_000 });
  expect(result.connectedUnits).toBe(12);
  const { memory, ...figures } = result;
  for (const figure of Object.values(figures)) expect(Number.isFinite(figure)).toBe(true);
  expect(memory.map(({ units }) => units)).toEqual([2, 6, 12]);
  expect(result.messagesPerSecond).toBeGreaterThan(0);
}, 120_000);
