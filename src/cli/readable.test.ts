import { expect, test } from 'vitest';
import { parseMoment } from './commands/logs.ts';
import { readable } from './readable.ts';

test('on a terminal a log can colour its text, and nothing else', () => {
  expect(readable('\u001b[31mred\u001b[0m\ttab', true)).toBe('\u001b[31mred\u001b[0m\ttab');
  expect(readable('\u001b]0;title\u0007\u001b[2J\r\u0000\u009b', true)).toBe('^[]0;title^G^[[2J^M^@\\x9b');
});

test('what turns the direction of a text around is seen, so that no name looks like another', () => {
  expect(readable('unit-\u202e1\u2066', true)).toBe('unit-<U+202E>1<U+2066>');
  expect(readable('שלום', true)).toBe('שלום');
});

test('a pipe gets the text as it is', () => {
  expect(readable('\u001b[2J\u0000', false)).toBe('\u001b[2J\u0000');
});

test('a moment is a time, or how long ago; other words are refused', () => {
  const now = new Date('2026-01-01T12:00:00Z');
  expect(parseMoment('2026-01-01T11:00:00+01:00', now)).toBe('2026-01-01T10:00:00.000Z');
  expect(parseMoment('90s', now)).toBe('2026-01-01T11:58:30.000Z');
  expect(parseMoment('2h', now)).toBe('2026-01-01T10:00:00.000Z');
  for (const text of ['yesterday', '', '2026-13-01', '5 parsecs']) {
    expect(() => parseMoment(text, now)).toThrow(/Expected a time/);
  }
});
