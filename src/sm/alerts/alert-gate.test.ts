import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { OutgoingMessage } from '../client/index.ts';
import { AlertGate } from './alert-gate.ts';

let nowMs: number;
let sent: string[];
let gate: AlertGate;

beforeEach(() => {
  vi.useFakeTimers();
  nowMs = 0;
  sent = [];
  gate = new AlertGate({
    clock: { monotonicMs: () => nowMs, now: () => new Date('2026-01-01T00:00:00Z'), sleep: async () => undefined },
    send: ({ value }) => {
      const { AlertItem: item } = value as { AlertItem: { case: string; value: { message?: string } } };
      sent.push(`${item.case}: ${item.value.message ?? ''}`);
    },
  });
});
afterEach(() => {
  gate.stop();
  vi.useRealTimers();
});

const alert = (AlertItem: object): OutgoingMessage =>
  ({ case: 'alert', value: { timestamp: { seconds: 1n, nanos: 0 }, AlertItem } }) as unknown as OutgoingMessage;
const system = (message: string) => alert({ case: 'systemAlert', value: { message } });
const instance = { itemId: 'web', subjectId: 's', instance: 2n };
const quota = alert({ case: 'instanceQuotaAlert', value: { instance, parameter: 'cpu', value: 5n, status: 'raise' } });

function pass(ms: number): void {
  nowMs += ms;
  vi.advanceTimersByTime(ms);
}

test('[SM-53] ten thousand alerts a second: the first are sent, the rest is counted in one alert', () => {
  for (let n = 0; n < 10_000; n += 1) gate.send(system(`no ${n}`));
  expect(sent).toHaveLength(64);
  expect(sent.at(-1)).toBe('systemAlert: no 63');
  pass(10_000);
  expect(sent).toHaveLength(65);
  expect(sent.at(-1)).toBe('systemAlert: 9936 more alerts from the journal within 10 s were left out');
  expect(gate.counts).toEqual({ sent: 65, suppressed: 9936 });
});

test('a storm that goes on stays bounded in each period, and after it all is as before', () => {
  for (let second = 0; second < 30; second += 1) {
    for (let n = 0; n < 1000; n += 1) gate.send(system('again'));
    pass(1000);
  }
  expect(sent.length).toBeLessThanOrEqual(3 * 65);
  pass(10_000);
  sent = [];
  gate.send(system('calm'));
  pass(20_000);
  expect(sent).toEqual(['systemAlert: calm']);
});

test('[SM-52] a storm in the journal keeps no quota alert from being sent', () => {
  for (let n = 0; n < 1000; n += 1) gate.send(system('noise'));
  gate.send(quota);
  expect(sent.at(-1)).toBe('instanceQuotaAlert: ');
});

test('the newest are kept in words for people, and those after one that was seen', () => {
  gate.send(quota);
  for (let n = 0; n < 60; n += 1) gate.send(system(`no ${n}`));
  expect(gate.newest()[0]).toEqual({
    seq: 1,
    at: '1970-01-01T00:00:01.000Z',
    kind: 'instanceQuotaAlert',
    about: 'web/s/2',
    message: 'cpu raise: 5',
  });
  expect(gate.newest(60).map(({ message }) => message)).toEqual(['no 59']);
  for (let period = 0; period < 10; period += 1) {
    for (let n = 0; n < 100; n += 1) gate.send(system('more'));
    pass(10_000);
  }
  expect(gate.newest()).toHaveLength(256);
});

test('what was left out is told also when the daemon stops first', () => {
  for (let n = 0; n < 65; n += 1) gate.send(system('x'));
  gate.stop();
  expect(sent.at(-1)).toMatch(/^systemAlert: 1 more alerts/);
});

test('other messages pass', () => {
  const passed: OutgoingMessage[] = [];
  const open = new AlertGate({ clock: { monotonicMs: () => 0 } as never, send: (message) => passed.push(message) });
  const message = { case: 'log', value: {} } as OutgoingMessage;
  for (let n = 0; n < 1000; n += 1) open.send(message);
  expect(passed).toHaveLength(1000);
});
