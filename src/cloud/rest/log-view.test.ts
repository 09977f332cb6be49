import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import type { LogPart } from '../store/log-parts.ts';
import { readLog, textOf } from './log-view.ts';

const MIB = 1024 * 1024;

const part = (nodeId: string, number: number, partsCount: number, content: Uint8Array): LogPart => ({
  ...{ nodeId, part: number, partsCount, status: 'ok', error: null, receivedAt: '' },
  content,
});

test('the parts of a log are put together, one log per node', () => {
  const parts = [
    part('main', 1, 2, gzipSync('first\n')),
    part('main', 2, 2, gzipSync('second\n')),
    part('other', 1, 2, gzipSync('half')),
  ];
  expect(readLog(parts)).toEqual([
    { nodeId: 'main', status: 'ok', complete: true, text: 'first\nsecond\n' },
    { nodeId: 'other', status: 'ok', complete: false, text: 'half' },
  ]);
  expect([...textOf(parts, 'main')!]).toEqual(['first\n', 'second\n']);
  expect(textOf(parts, 'nobody')).toBeUndefined();
});

test('what unpacks to a thousand times as much does not fill the memory: an answer has bounds, and says what it leaves out', () => {
  const bomb = gzipSync(Buffer.alloc(4 * MIB, 'x'));
  const parts = Array.from({ length: 1000 }, (_, index) => part('main', index + 1, 1000, bomb));
  const [log] = readLog(parts);
  expect(log!.text.length).toBeLessThan(70 * MIB);
  expect(log!.text).toMatch(/x\[984 more parts have no room here; "Download" on the page of the unit has all\]\n$/);
  expect(log).toMatchObject({ complete: true });
});
