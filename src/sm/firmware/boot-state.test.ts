import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Installed, inactiveSlot, MAX_ATTEMPTS, nextBootStep, type Pending, type Phase } from './boot-state.ts';

const ident = { itemId: 'fw', subjectId: 's', instance: 0, type: 'component', preinstalled: false } as const;
const old = { ident: { ...ident, preinstalled: true }, version: '1.0.0', manifestDigest: '' };
const component = { ident, version: '2.0.0', manifestDigest: 'sha256:2' };
const installed: Installed = { component: old, slot: 0, isMirrored: false };

function pendingIn(phase: Phase, change: Partial<Pending> = {}): Pending {
  return { component, slot: 1, phase, attempts: 1, bootId: 'before', isTried: true, ...change };
}

describe('what is to be done with the slots', () => {
  test.each<[Phase | undefined, 0 | 1 | undefined, string]>([
    [undefined, undefined, 'rest'],
    [undefined, 0, 'settle'],
    [undefined, 1, 'look'],
    ['writing', 0, 'rest'],
    ['writing', 1, 'return'],
    ['trying', 0, 'try'],
    ['trying', 1, 'check health'],
    ['trying', undefined, 'rest'],
    ['returning', 0, 'fail'],
    ['returning', 1, 'return'],
    ['failed', 0, 'settle'],
    ['failed', 1, 'look'],
  ])('[SM-44] phase %s, running slot %s: %s', (phase, current, expected) => {
    const pending = phase && pendingIn(phase);
    expect(nextBootStep({ installed, pending, current, bootId: 'now' }).do).toBe(expected);
  });

  test('[SM-44] a slot that holds the same is followed', () => {
    const facts = { installed: { component, slot: 0, isMirrored: true }, current: 1, bootId: 'now' } as const;
    expect(nextBootStep(facts)).toEqual({ do: 'follow', slot: 1 });
    // What the factory wrote beside may be another version.
    const factory = { ...installed, isMirrored: true };
    expect(nextBootStep({ ...facts, installed: factory })).toEqual({ do: 'look', slot: 1 });
  });

  test('[SM-44] a commit that was cut before its record went is over', () => {
    const done: Installed = { component, slot: 1, isMirrored: false };
    const facts = { installed: done, pending: pendingIn('trying'), current: 1, bootId: 'now' } as const;
    expect(nextBootStep(facts)).toEqual({ do: 'forget' });
  });

  test('[SM-44] attempts are counted by boots, and end', () => {
    const tryAgain = (attempts: number, bootId: string) =>
      nextBootStep({ installed, pending: pendingIn('trying', { attempts, bootId }), current: 0, bootId: 'now' });
    expect(tryAgain(0, '')).toEqual({ do: 'try', attempt: 1 });
    expect(tryAgain(2, 'now')).toEqual({ do: 'try', attempt: 2 });
    expect(tryAgain(2, 'before')).toEqual({ do: 'try', attempt: 3 });
    expect(tryAgain(MAX_ATTEMPTS, 'before')).toMatchObject({ do: 'fail' });
    const stuck = pendingIn('returning', { attempts: MAX_ATTEMPTS });
    expect(nextBootStep({ installed, pending: stuck, current: 1, bootId: 'now' })).toMatchObject({ do: 'rest' });
  });

  test('[SM-44] whatever is on record: the inactive slot is never the running one, and no boot is asked for into the void', () => {
    const slot = fc.constantFrom(0, 1) as fc.Arbitrary<0 | 1>;
    const phase = fc.constantFrom<Phase>('writing', 'trying', 'returning', 'failed');
    fc.assert(
      fc.property(
        slot,
        slot,
        fc.option(slot, { nil: undefined }),
        phase,
        fc.nat(5),
        fc.boolean(),
        (a, b, current, is, n, same) => {
          const facts = {
            installed: { ...installed, slot: a },
            pending: pendingIn(is, { slot: b, attempts: n, bootId: same ? 'now' : 'before' }),
            current,
            bootId: 'now',
          };
          const step = nextBootStep(facts);
          if (step.do === 'try') expect([is, current === b]).toEqual(['trying', false]);
          if (step.do === 'return') expect(current).toBe(b);
          if (step.do === 'check health') expect([is, current]).toEqual(['trying', b]);
          if (current === undefined) expect([step.do, inactiveSlot(current)]).toEqual(['rest', undefined]);
          else expect(inactiveSlot(current)).not.toBe(current);
        },
      ),
    );
  });
});
