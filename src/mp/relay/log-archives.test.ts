import { gunzipSync } from 'node:zlib';
import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, test } from 'vitest';
import { sm } from '../../api/contracts.ts';
import { silentLogger, systemClock } from '../../core/index.ts';
import { LogArchives } from './log-archives.ts';

let nowMs = 0;
let date = new Date();
let archives: LogArchives;

beforeEach(() => {
  nowMs = 1_000_000;
  date = new Date('2026-05-01T00:00:00Z');
  const clock = { ...systemClock, monotonicMs: () => nowMs, now: () => date };
  archives = new LogArchives({ maxPartSize: 100, maxPartCount: 3, clock, logger: silentLogger });
});

const log = (correlationId: string, text: string, status = 'ok') =>
  create(sm.LogDataSchema, { correlationId, data: new Uint8Array(Buffer.from(text)), status });
const textOf = (parts: readonly sm.LogData[]) => parts.map(({ data }) => gunzipSync(data).toString());

describe('logs of small nodes', () => {
  test('[MP-10] pieces are not split: one that would be too much begins a part', () => {
    for (const letter of ['a', 'b', 'c']) expect(archives.take(log('x', letter.repeat(60)))).toEqual([]);
    const parts = archives.take(log('x', '', 'empty'));
    expect(textOf(parts)).toEqual(['a'.repeat(60), 'b'.repeat(60), 'c'.repeat(60)]);
    expect(parts.map(({ part, partCount, status }) => `${part} of ${partCount} ${status}`)).toEqual([
      ...['1 of 3 ok', '2 of 3 ok', '3 of 3 ok'],
    ]);
  });

  test('[MP-10] what is more than the parts hold is lost, and the rest arrives', () => {
    for (const letter of ['a', 'b', 'c', 'd', 'e']) archives.take(log('x', letter.repeat(100)));
    expect(textOf(archives.take(log('x', '', 'empty')))).toEqual(['a', 'b', 'c'].map((letter) => letter.repeat(100)));
  });

  test('[MP-10] an end with an error brings it on, with what there was', () => {
    archives.take(log('x', 'so far'));
    const error = { aosCode: 1, exitCode: 2, message: 'the file is gone' };
    const parts = archives.take(create(sm.LogDataSchema, { correlationId: 'x', status: 'error', error }));
    expect(textOf(parts)).toEqual(['so far']);
    expect(parts[0]?.error).toMatchObject(error);
  });

  test('[MP-10] logs do not mix; the seventeenth at once takes the place of the one that waits longest', () => {
    for (let index = 0; index < 17; index += 1) {
      nowMs += 1;
      archives.take(log(`log ${index}`, `text ${index}`));
    }
    expect(textOf(archives.take(log('log 16', '', 'empty')))).toEqual(['text 16']);
    expect(textOf(archives.take(log('log 1', '', 'empty')))).toEqual(['text 1']);
    // Nothing is left of the first: its end goes on as it came.
    expect(archives.take(log('log 0', '', 'empty'))).toMatchObject([{ correlationId: 'log 0', status: 'empty' }]);
  });

  test('[MP-10] [X-21] a log whose end never comes is forgotten after ten seconds, whatever the date does meanwhile', () => {
    archives.take(log('x', 'begun'));
    for (const jump of ['2066-01-01T00:00:00Z', '1970-01-01T00:00:00Z']) {
      date = new Date(jump);
      nowMs += 4_000;
      archives.sweep();
    }
    archives.take(log('x', ', and more'));
    nowMs += 10_000;
    archives.sweep();
    archives.take(log('y', 'another'));
    nowMs += 1;
    archives.sweep();
    expect(archives.take(log('x', '', 'empty'))).toMatchObject([{ status: 'empty' }]);
    expect(textOf(archives.take(log('y', '', 'empty')))).toEqual(['another']);
  });
});
