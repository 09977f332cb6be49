import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mergeDesired } from './desired.ts';
import { desiredStatus, instanceStatus, itemStatus, settledFacts } from './desired-for-tests.ts';
import { kindsOf, mayGoOn, ReleaseRule, type ReleaseRules, untilSlot } from './release-rules.ts';

const rule = (input: object = {}) => ReleaseRule.parse(input);
const rules = (sota: object, fota: object = {}): ReleaseRules => ({ sota: rule(sota), fota: rule(fota) });
/** A Wednesday. */
const WEDNESDAY = new Date(2026, 10, 25, 12, 0, 0);
const at = (hours: number, minutes: number, days = 0) => new Date(2026, 10, 25 + days, hours, minutes, 0);
const facts = { kinds: ['sota'], rules: rules({}), locks: [], released: new Set<'sota'>(), now: WEDNESDAY } as const;
const HOUR_MS = 3_600_000;

describe('without rules and locks', () => {
  test('[CM-32] an update is forced: it goes on at once', () => {
    expect(mayGoOn(facts).open).toBe(true);
  });
});

describe('a trigger', () => {
  const waiting = { ...facts, rules: rules({ type: 'trigger' }) };

  test('[CM-32] is waited for, and releases its own kind only', () => {
    expect(mayGoOn(waiting)).toMatchObject({ open: false });
    expect(mayGoOn({ ...waiting, released: new Set(['fota']) }).open).toBe(false);
    expect(mayGoOn({ ...waiting, released: new Set(['sota']) })).toEqual({ open: true, because: 'sota was released' });
    expect(mayGoOn({ ...waiting, kinds: ['fota'] }).open).toBe(true);
  });
});

describe('a timetable', () => {
  const night = [
    { dayOfWeek: 3, timeSlots: [{ start: '22:00', finish: '24:00' }] },
    { dayOfWeek: 7, timeSlots: [{ start: '00:00', finish: '06:30' }] },
  ];
  const { timetable } = rule({ type: 'timetable', timetable: night });

  test.each([
    ['before the slot of the day', at(12, 0), 10 * HOUR_MS],
    ['at its start', at(22, 0), 0],
    ['at its last minute', at(23, 59), 0],
    ['after it, until Sunday', at(0, 0, 1), 3 * 24 * HOUR_MS],
    ['on Sunday', at(6, 29, 4), 0],
    ['on Sunday after the slot, until Wednesday', at(6, 30, 4), (2 * 24 + 24 - 6.5 + 22) * HOUR_MS],
  ])('[CM-32] %s', (_, now, untilMs) => {
    expect(untilSlot(timetable, now)).toBe(untilMs);
    const release = mayGoOn({ ...facts, rules: rules({ type: 'timetable', timetable: night }), now });
    expect(release).toMatchObject(untilMs === 0 ? { open: true } : { open: false, againInMs: untilMs });
  });

  test('[CM-32] at any moment the wait ends inside of a slot', () =>
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 13 }),
        fc.integer({ min: 0, max: 23 }),
        fc.integer({ min: 0, max: 59 }),
        (days, hours, minutes) => {
          const now = at(hours, minutes, days);
          expect(untilSlot(timetable, new Date(now.getTime() + untilSlot(timetable, now)))).toBe(0);
        },
      ),
    ));

  test.each([
    ['a day that does not exist', { type: 'timetable', timetable: [{ dayOfWeek: 8, timeSlots: [] }] }],
    [
      'a slot that ends before it begins',
      { timetable: [{ dayOfWeek: 1, timeSlots: [{ start: '10:00', finish: '09:00' }] }] },
    ],
    ['no slots at all', { type: 'timetable' }],
    ['another word', { type: 'sometimes' }],
    ['a time to live that is none', { ttl: 'soon' }],
  ])('%s is refused', (_, input) => {
    expect(ReleaseRule.safeParse(input).success).toBe(false);
  });
});

describe('a lock', () => {
  const lock = { owner: 'drive', reason: 'the car moves', expiresAtMs: WEDNESDAY.getTime() + HOUR_MS };

  test('[P-20] holds an update whatever the rules say, and tells owner, reason and expiry', () => {
    const release = mayGoOn({ ...facts, locks: [lock], released: new Set(['sota']) });
    expect(release).toMatchObject({ open: false, againInMs: HOUR_MS });
    expect(release.because).toMatch(/^drive holds a lock until .*: the car moves$/);
  });

  test('[P-20] that expired holds nothing', () => {
    expect(mayGoOn({ ...facts, locks: [{ ...lock, expiresAtMs: WEDNESDAY.getTime() }] }).open).toBe(true);
  });
});

test('components are firmware, everything else is software', () => {
  const [entry] = desiredStatus({ fw: '2' }).items!;
  const component = { ...entry!, item: { id: 'fw', type: 'component' as const } };
  const both = mergeDesired(desiredStatus({ web: '1' }, { items: [...desiredStatus({ web: '1' }).items!, component] }));
  const fw = (version: string) => ({ ...itemStatus('fw', version), type: 'component' as const });
  const settled = settledFacts({ web: '1' });
  expect(kindsOf(both, { items: [], instances: [] })).toEqual(['sota', 'fota']);
  expect(kindsOf(both, { ...settled, items: [...settled.items, fw('1')] })).toEqual(['fota']);
  expect(kindsOf(both, { ...settled, items: [fw('2')] })).toEqual(['sota']);
  const other = [...settled.instances, instanceStatus('fw', '1', 'active', { type: 'component' })];
  expect(kindsOf(both, { items: [...settled.items, fw('2')], instances: other })).toEqual(['fota']);
});
