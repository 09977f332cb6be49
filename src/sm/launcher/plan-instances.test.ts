import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { instanceKey } from '../../core/index.ts';
import type { InstanceInfo } from '../model.ts';
import { anInstance } from './instances-for-tests.ts';
import { planInstances, type RunningInstance, type Step } from './plan-instances.ts';

const runs = (info: InstanceInfo): RunningInstance => ({ info, failed: false });
const failed = (info: InstanceInfo): RunningInstance => ({ info, failed: true });
const short = (steps: readonly Step[]) => steps.map((step) => `${step.do} ${step.info.ident.itemId}`);

describe('planInstances', () => {
  test('[SM-03] what is new is started, what is gone is stopped, what is the same is kept', () => {
    const [old, same, fresh] = [anInstance('old'), anInstance('same'), anInstance('fresh')];
    expect(short(planInstances([same, fresh], [runs(old), runs(same)]))).toEqual([
      'stop old',
      'start fresh',
      'keep same',
    ]);
  });

  test.each<[string, Partial<InstanceInfo>]>([
    ['version', { version: '2.0.0' }],
    ['manifestDigest', { manifestDigest: 'sha256:other' }],
    ['ownerId', { ownerId: 'other' }],
    ['runtimeId', { runtimeId: 'other' }],
    ['uid', { uid: 6000 }],
    ['gid', { gid: 6000 }],
    ['priority', { priority: 7 }],
    ['storagePath', { storagePath: 'elsewhere' }],
    ['statePath', { statePath: 'elsewhere' }],
    ['envVars', { envVars: [{ name: 'A', value: 'b' }] }],
    ['monitoring', { monitoring: { partitions: [] } }],
  ])('an instance whose %s changed is stopped and started, and the reason names the field', (field, change) => {
    const before = anInstance('item');
    const steps = planInstances([{ ...before, ...change }], [runs(before)]);
    expect(short(steps)).toEqual(['stop item', 'start item']);
    for (const { because } of steps) expect(because).toBe(`its description changed: ${field}`);
  });

  test('the stop of a changed instance names the old description, its start the new one', () => {
    const before = anInstance('item');
    const [stop, start] = planInstances([{ ...before, version: '2.0.0' }], [runs(before)]);
    expect([stop!.info.version, start!.info.version]).toEqual(['1.0.0', '2.0.0']);
  });

  test('an instance that failed is tried again when it is wanted', () => {
    const info = anInstance('item');
    expect(short(planInstances([info], [failed(info)]))).toEqual(['stop item', 'start item']);
  });

  const infos = fc
    .uniqueArray(fc.record({ item: fc.constantFrom('a', 'b', 'c', 'd', 'e'), version: fc.constantFrom('1', '2') }), {
      selector: ({ item }) => item,
    })
    .map((list) => list.map(({ item, version }) => anInstance(item, { version })));

  test('[SM-03] every stop comes before every start', () =>
    fc.assert(
      fc.property(infos, infos, (wanted, running) => {
        const kinds = planInstances(wanted, running.map(runs)).map((step) => step.do);
        expect(kinds.lastIndexOf('stop')).toBeLessThan(kinds.includes('start') ? kinds.indexOf('start') : Infinity);
      }),
    ));

  test('carrying the plan out gives what is wanted, and planning again from there does nothing', () =>
    fc.assert(
      fc.property(infos, infos, (wanted, running) => {
        const after = new Map(running.map((info) => [instanceKey(info.ident), info]));
        for (const step of planInstances(wanted, running.map(runs))) {
          if (step.do === 'stop') after.delete(instanceKey(step.info.ident));
          if (step.do === 'start') after.set(instanceKey(step.info.ident), step.info);
        }
        expect(new Set(after.values())).toEqual(new Set(wanted));
        const again = planInstances(wanted, [...after.values()].map(runs));
        expect(again.filter((step) => step.do !== 'keep')).toEqual([]);
      }),
    ));
});
