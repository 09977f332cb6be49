import { expect, test } from 'vitest';
import { silentLogger } from './logger.ts';
import { phase } from './phase.ts';

test('[O-06] a phase has a line at its begin and one at its end, with its time, also when it fails', async () => {
  const lines: [object, string][] = [];
  const logger = { ...silentLogger, info: (fields: object, text: string) => lines.push([fields, text]) };
  expect(await phase(logger, 'start instances', { instances: 3 }, async () => 'done')).toBe('done');
  await expect(phase(logger, 'stop instances', {}, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(lines).toEqual([
    [{ phase: 'start instances', instances: 3 }, 'start instances: begin'],
    [{ phase: 'start instances', instances: 3, tookMs: expect.any(Number) }, 'start instances: end'],
    [{ phase: 'stop instances' }, 'stop instances: begin'],
    [{ phase: 'stop instances', tookMs: expect.any(Number) }, 'stop instances: failed'],
  ]);
});
