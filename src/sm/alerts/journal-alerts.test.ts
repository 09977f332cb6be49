import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AosError, type Clock, type Logger, Mailbox, silentLogger, systemClock } from '../../core/index.ts';
import type { Journal, JournalEntry, JournalQuery } from '../../platform/journal/index.ts';
import { alertOf, JournalAlerts, parseFilters } from './journal-alerts.ts';

const entry = (fields: Record<string, string>, message = 'text', cursor = 'c1'): JournalEntry => ({
  ...{ at: new Date(1_700_000_000_000), cursor, message, fields },
});

const rules = {
  filter: parseFilters(['^noise', '']),
  serviceAlertPriority: 4,
  systemAlertPriority: 3,
  isInstance: ({ fields }: JournalEntry) => fields.CONTAINER_ID_FULL !== undefined,
};

describe('what an entry is an alert of', () => {
  test.each<[string, Record<string, string>, unknown]>([
    ['a unit of the system', { PRIORITY: '3', _SYSTEMD_UNIT: 'ssh.service' }, { kind: 'system', message: 'text' }],
    ['the CM', { PRIORITY: '2', _SYSTEMD_UNIT: 'aos-cm.service' }, { kind: 'core', component: 'CM', message: 'text' }],
    [
      'IAM, by its cgroup',
      { _SYSTEMD_CGROUP: '/x/aos-iam.service' },
      { kind: 'core', component: 'IAM', message: 'text' },
    ],
    ['the MP', { PRIORITY: '3', _SYSTEMD_UNIT: 'aos-mp.service' }, { kind: 'core', component: 'MP', message: 'text' }],
    [
      'systemd about the SM',
      { PRIORITY: '4', _SYSTEMD_UNIT: 'init.scope', UNIT: 'aos-sm.service' },
      { kind: 'core', component: 'SM', message: 'text' },
    ],
    ['systemd about nobody', { PRIORITY: '4', _SYSTEMD_UNIT: 'init.scope' }, { kind: 'system', message: 'text' }],
    [
      'systemd with something of no weight',
      { PRIORITY: '5', _SYSTEMD_UNIT: 'init.scope', UNIT: 'a.service' },
      undefined,
    ],
    ['an instance', { PRIORITY: '0', CONTAINER_ID_FULL: 'id' }, undefined],
  ])('[SM-53] %s', (_, fields, expected) => {
    expect(alertOf(entry(fields), rules)).toEqual(expected);
  });

  test('[SM-53] what a filter finds is no alert, and a long text is cut', () => {
    expect(alertOf(entry({}, 'noise of a fan'), rules)).toBeUndefined();
    expect(alertOf(entry({}, 'x'.repeat(300)), rules)?.message).toHaveLength(255);
    // Twins take no more bytes than that, whatever the language.
    expect(alertOf(entry({}, 'ü'.repeat(300)), rules)?.message).toBe('ü'.repeat(127));
  });

  test('of a line of our own daemons the sentence is told', () => {
    const cm = { PRIORITY: '3', _SYSTEMD_UNIT: 'aos-cm.service' };
    expect(alertOf(entry(cm, '{"level":50,"msg":"the disk is full"}'), rules)?.message).toBe('the disk is full');
    expect(alertOf(entry(cm, '{"level":50'), rules)?.message).toBe('{"level":50');
    expect(alertOf(entry({ PRIORITY: '3' }, '{"msg":"x"}'), rules)?.message).toBe('{"msg":"x"}');
  });

  test('a filter that is no expression is refused by name', () => {
    expect(() => parseFilters(['('])).toThrow(/journalAlerts.filter: "\("/);
  });
});

describe('following the journal', () => {
  let box: Mailbox<JournalEntry>;
  let queries: JournalQuery[];
  let sent: string[];
  let saved: string | undefined;
  let isFull: boolean;
  let alerts: JournalAlerts;
  const hurried: Clock = { ...systemClock, sleep: (_, signal) => systemClock.sleep(1, signal) };

  function open(logger: Logger = silentLogger): JournalAlerts {
    const journal: Journal = {
      read(query, signal) {
        queries.push(query);
        const mine = new Mailbox<JournalEntry>(100);
        box = mine;
        signal.addEventListener('abort', () => mine.fail(signal.reason), { once: true });
        return mine;
      },
    };
    alerts = new JournalAlerts({
      ...rules,
      journal,
      cursor: {
        get: () => saved,
        set: (cursor) => {
          if (isFull) throw new AosError('noMemory', 'not enough space');
          saved = cursor;
        },
      },
      send: ({ value }) => sent.push((value as { AlertItem: { value: { message: string } } }).AlertItem.value.message),
      clock: hurried,
      logger,
    });
    alerts.start();
    return alerts;
  }

  beforeEach(() => {
    queries = [];
    sent = [];
    saved = undefined;
    isFull = false;
  });
  afterEach(() => alerts.stop());

  test('[SM-53] entries of weight, and what systemd says, are followed from the end', () => {
    open();
    expect(queries[0]).toMatchObject({
      matches: [['PRIORITY=0', 'PRIORITY=1', 'PRIORITY=2', 'PRIORITY=3'], ['_SYSTEMD_UNIT=init.scope']],
      ...{ follow: true, fromNow: true, afterCursor: undefined },
    });
  });

  test('[SM-53] after a restart reading goes on behind the last alert', async () => {
    open();
    box.push(entry({}, 'first', 'c7'));
    await expect.poll(() => sent, { timeout: 15_000 }).toEqual(['first']);
    await alerts.stop();
    expect(saved).toBe('c7');
    open();
    expect(queries[1]?.afterCursor).toBe('c7');
  });

  test('a journal that fails is opened again, at its end', async () => {
    saved = 'c7';
    open();
    box.fail(new Error('broken'));
    await expect.poll(() => queries.length, { timeout: 15_000 }).toBe(2);
    expect(queries[1]?.afterCursor).toBeUndefined();
    expect(saved).toBeUndefined();
  });

  test('[R-02] a full disk ends nothing: the place in the journal is written when there is room', async () => {
    const warnings: string[] = [];
    saved = 'c7';
    open({ ...silentLogger, warn: (_: object, words: string) => warnings.push(words) } as unknown as Logger);
    isFull = true;
    box.push(entry({}, 'first', 'c8'));
    box.fail(new Error('broken'));
    await expect.poll(() => queries.length, { timeout: 15_000 }).toBe(2);
    box.push(entry({}, 'second', 'c9'));
    await expect.poll(() => sent, { timeout: 15_000 }).toEqual(['first', 'second']);
    await alerts.stop();
    expect(warnings.filter((words) => words.includes('not enough space'))).toHaveLength(1);
    expect(saved).toBe('c7');
  });

  test('[SM-53] a journal that stays broken is said once, again when it broke anew, and read as soon as it is whole', async () => {
    const warnings: string[] = [];
    open({ ...silentLogger, warn: (_: object, words: string) => warnings.push(words) } as unknown as Logger);
    const breakNow = async () => {
      const count = queries.length;
      box.fail(new Error('Bad message'));
      await expect.poll(() => queries.length, { timeout: 15_000 }).toBe(count + 1);
    };
    for (let time = 0; time < 3; time += 1) await breakNow();
    expect(warnings).toEqual(['the journal is opened again at its end: Bad message']);
    box.push(entry({}, 'whole again'));
    await expect.poll(() => sent, { timeout: 15_000 }).toEqual(['whole again']);
    await breakNow();
    expect(warnings).toHaveLength(2);
  });
});
