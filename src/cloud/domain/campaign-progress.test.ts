import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { UnitPicture } from '../model/unit-picture.ts';
import { judgeCampaign, progressOf, takesPart, type UnitProgress } from './campaign-progress.ts';

type Item = NonNullable<UnitPicture['items']>[number];
type Group = NonNullable<UnitPicture['instances']>[number];

const item = (version: string, state: Item['state'], message?: string) =>
  ({
    ...{ item: { id: 'web' }, version, state },
    errorInfo: message === undefined ? undefined : { aosCode: 1, exitCode: 0, message },
  }) as Item;
const running = (version: string, state: Group['instances'][number]['state'] = 'active') =>
  ({
    ...{ item: { id: 'web' }, subject: { id: 's' }, version },
    instances: [{ instance: 0, node: { codename: 'main' }, runtime: { codename: 'r' }, state, errorInfo: undefined }],
  }) as Group;
const progress = (picture: UnitPicture, online = true) =>
  progressOf({ systemId: 'u', online, picture }, 'web', '2.0.0');

const stage = { stage: 0, stages: ['first', 'second'], automatic: true };
const unit = (state: UnitProgress['state'], systemId = 'u'): UnitProgress => ({ systemId, state, text: state });

describe('progressOf', () => {
  test.each([
    ['a unit that has said nothing of the version is pending', {}, 'pending'],
    ['one that downloads is pending', { items: [item('2.0.0', 'downloading')] }, 'pending'],
    [
      'one whose instance is starting is pending',
      { items: [item('2.0.0', 'installed')], instances: [running('2.0.0', 'activating')] },
      'pending',
    ],
    [
      'one where the old version still runs is pending',
      { items: [item('2.0.0', 'installed')], instances: [running('1.0.0')] },
      'pending',
    ],
    ['one that runs it is updated', { items: [item('2.0.0', 'installed')], instances: [running('2.0.0')] }, 'updated'],
    ['one that could not install it has failed', { items: [item('2.0.0', 'failed', 'no room')] }, 'failed'],
    [
      'one whose instance failed has failed',
      { items: [item('2.0.0', 'installed')], instances: [running('2.0.0', 'failed')] },
      'failed',
    ],
    ['the failure of another version is none', { items: [item('1.0.0', 'failed')] }, 'pending'],
  ] as const)('%s', (_, picture, state) => {
    expect(progress(picture as UnitPicture).state).toBe(state);
  });

  test('it says why in words of the unit, and that a unit is offline', () => {
    expect(progress({ items: [item('2.0.0', 'failed', 'no room')] }).text).toBe('no room');
    expect(progress({}, false).text).toBe('is offline');
  });
});

describe('judgeCampaign', () => {
  test('the next stage begins when all units of this one run the version, the last one completes it', () => {
    expect(judgeCampaign(stage, [unit('updated')]).do).toBe('advance');
    expect(judgeCampaign({ ...stage, stage: 1 }, [unit('updated')]).do).toBe('complete');
    expect(judgeCampaign(stage, []).do).toBe('advance');
  });

  test('without automatic a person begins the next stage', () => {
    expect(judgeCampaign({ ...stage, automatic: false }, [unit('updated')])).toMatchObject({
      do: 'wait',
      because: expect.stringMatching(/first is done.*person/),
    });
  });

  test('one unit that failed stops it, by name and reason', () => {
    const verdict = judgeCampaign(stage, [unit('updated'), { ...unit('failed', 'car-7'), text: 'no room' }]);
    expect(verdict).toEqual({ do: 'stop', because: 'unit car-7 failed: no room' });
  });

  test('it never goes on while a unit is pending or has failed', () => {
    const units = fc.array(fc.constantFrom('updated', 'pending', 'failed').map((state) => unit(state as 'updated')));
    fc.assert(
      fc.property(units, fc.boolean(), fc.nat(1), (some, automatic, index) => {
        const verdict = judgeCampaign({ ...stage, automatic, stage: index }, some);
        const all = some.every(({ state }) => state === 'updated');
        expect(['advance', 'complete'].includes(verdict.do) && !all).toBe(false);
        expect(verdict.do === 'stop').toBe(some.some(({ state }) => state === 'failed'));
      }),
    );
  });
});

test('a campaign never takes a unit to a lower version, nor an item to a unit that has it not', () => {
  expect(takesPart(undefined, '2.0.0')).toBe(false);
  expect(takesPart('2.0.0', '2.0.0')).toBe(false);
  expect(takesPart('2.1.0', '2.0.0')).toBe(false);
  expect(takesPart('1.0.0', '2.0.0')).toBe(true);
});
