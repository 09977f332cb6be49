import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  Backoff,
  cautiousDate,
  compareVersions,
  digestOf,
  formatDuration,
  type InstanceIdent,
  instanceId,
  instanceKey,
  instanceName,
  matchesFilter,
  parseDigest,
  parseDuration,
  readDer,
  readDerSequence,
  runtimeId,
  systemClock,
  writeDer,
  writeDerInteger,
} from './index.ts';

describe('identities', () => {
  test('[X-02] ids of instances and runtimes are those that every other program computes', () => {
    expect(instanceId({ itemId: 'service1', subjectId: 'subject1', instance: 0 })).toBe(
      'c7644e00-aecb-3ff3-87bd-dc2b708a483b',
    );
    expect(runtimeId('container', 'node0')).toBe('f1ed4f0d-217e-3cbd-80fb-903c6d4fc044');
    expect(runtimeId('rootfs', 'nodeId')).toBe('f61c872c-f8d5-382c-894f-0d20dc0e3845');
  });

  test('two instances are one only if all five parts are equal', () => {
    const ident: InstanceIdent = { itemId: 'i', subjectId: 's', instance: 1, type: 'service', preinstalled: false };
    const others: InstanceIdent[] = [
      { ...ident, itemId: 'x' },
      { ...ident, subjectId: 'x' },
      { ...ident, instance: 2 },
      { ...ident, type: 'component' },
      { ...ident, preinstalled: true },
    ];
    expect(instanceKey({ ...ident })).toBe(instanceKey(ident));
    for (const other of others) expect(instanceKey(other)).not.toBe(instanceKey(ident));
    expect(instanceName(ident)).toBe('i/s/1');
    expect(matchesFilter({}, ident)).toBe(true);
    expect(matchesFilter({ itemId: 'i', instance: 1 }, ident)).toBe(true);
    expect(matchesFilter({ itemId: 'i', instance: 2 }, ident)).toBe(false);
  });
});

describe('durations', () => {
  test.each([
    ['PT10S', 10_000],
    ['10s', 10_000],
    ['10', 10_000],
    ['1.5', 2_000],
    ['1h30m', 5_400_000],
    ['250ms', 250],
    ['P1D', 86_400_000],
    ['P1Y', 31_556_925_975],
    ['-PT5S', -5_000],
    ['PT0.5S', 500],
  ])('%s is %i ms', (text, ms) => {
    expect(Math.round(parseDuration(text))).toBe(ms);
  });

  test.each(['', 'soon', 'P', '10 s', '5x'])('"%s" is refused by name', (text) => {
    expect(() => parseDuration(text)).toThrow(/duration string/);
  });

  test('what is written is read back', () => {
    fc.assert(
      fc.property(fc.integer({ min: -1e12, max: 1e12 }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBe(ms);
      }),
    );
  });
});

describe('versions', () => {
  test('are in the order of semantic versions, with numbers compared as numbers', () => {
    const sorted = ['1.0', '1.0.0-alpha', '1.0.0-alpha.1', '1.0.0-rc.9', '1.0.0-rc.10', '1.0.0', '1.2.0', '1.10.0'];
    for (const [index, version] of sorted.entries()) {
      for (const later of sorted.slice(index + 1)) {
        expect(compareVersions(version, later), `${version} ${later}`).toBeLessThan(0);
        expect(compareVersions(later, version)).toBeGreaterThan(0);
      }
    }
    expect(compareVersions('1.0.0+a', '1.0.0+b')).toBe(0);
  });

  test.each(['', '1.x', '01.0.0', '1.0.0.0', '1.0.0-'])('"%s" is refused by name', (text) => {
    expect(() => compareVersions(text, '1.0.0')).toThrow(/semantic version/);
  });
});

describe('digests', () => {
  test('are sha256 in lower case', () => {
    const digest = digestOf('');
    expect(digest).toBe('sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    expect(parseDigest(digest.toUpperCase()).hex).toBe(digest.slice(7));
    for (const bad of ['', 'sha256:', 'md5:00', `sha512:${'0'.repeat(64)}`, `sha256:../../${'0'.repeat(58)}`]) {
      expect(() => parseDigest(bad)).toThrow(/is not of the form/);
    }
  });
});

describe('DER', () => {
  test('what is written is read back, whatever its length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70_000 }), (content) => {
        const value = readDer(writeDer(0x04, content));
        expect(value.tag).toBe(0x04);
        expect(value.content.equals(Buffer.from(content))).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  test('numbers are positive and as short as they can be', () => {
    expect(writeDerInteger(Buffer.from([0, 0, 1])).toString('hex')).toBe('020101');
    expect(writeDerInteger(Buffer.from([0x80])).toString('hex')).toBe('02020080');
  });

  test('[R-06] any bytes are read or refused, never beyond their end', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          const values = readDerSequence(Buffer.from(bytes));
          expect(values.reduce((sum, value) => sum + value.sizeBytes, 0)).toBe(bytes.length);
        } catch (error) {
          expect((error as Error).message).toBe('malformed DER');
        }
      }),
    );
  });
});

describe('time', () => {
  test('pauses double up to the cap, and begin again after a reset', () => {
    const backoff = new Backoff({ firstMs: 1000, maxMs: 5000 });
    expect([1, 2, 3, 4, 5].map(() => backoff.next())).toEqual([1000, 2000, 4000, 5000, 5000]);
    backoff.reset();
    expect(backoff.next()).toBe(1000);
    backoff.reset(300);
    expect(backoff.next()).toBe(300);
  });

  test('jitter goes both ways, within its part', () => {
    const at = (random: number) =>
      new Backoff({ firstMs: 1000, maxMs: 5000, jitter: 0.2, random: () => random }).next();
    expect([at(0), at(0.5), at(1)].map(Math.round)).toEqual([800, 1000, 1200]);
  });

  test('[X-21] a date that is set makes nothing older than the time that went by', () => {
    let [dateMs, monotonicMs] = [1_000_000, 0];
    const date = cautiousDate({ ...systemClock, now: () => new Date(dateMs), monotonicMs: () => monotonicMs });
    expect(date()).toBe(1_000_000);
    [dateMs, monotonicMs] = [9_000_000, 500];
    expect(date()).toBe(1_000_500);
    [dateMs, monotonicMs] = [20, 600];
    expect(date()).toBe(20);
  });

  test('[R-03] a wait ends at once when nobody wants it any more, and never looks at the wall clock', async () => {
    const abort = new AbortController();
    const wait = systemClock.sleep(1e9, abort.signal);
    abort.abort();
    await expect(wait).rejects.toMatchObject({ code: 'canceled' });
    const before = systemClock.monotonicMs();
    await systemClock.sleep(1, new AbortController().signal);
    expect(systemClock.monotonicMs()).toBeGreaterThan(before);
  });

  test('[R-03] a wait of months is not over at once, although a timer takes no more than 24 days', async () => {
    const abort = new AbortController();
    const ended: string[] = [];
    const long = systemClock.sleep(90 * 86_400_000, abort.signal).then(
      () => ended.push('of months'),
      () => ended.push('given up'),
    );
    await systemClock.sleep(50, abort.signal);
    abort.abort();
    await long;
    expect(ended).toEqual(['given up']);
  });
});
