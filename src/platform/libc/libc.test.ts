import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { Libc } from './libc.ts';

const PIECE_BYTES = 64 * 1024;
const PIECES = 1000;

test('what lies free between pieces of memory in use is given back to the system', () => {
  const libc = new Libc();
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  let pieces = Array.from({ length: PIECES }, () => Buffer.alloc(PIECE_BYTES, 1));
  pieces = pieces.filter((_, index) => index % 2 === 0);
  collect();
  collect();
  const beforeBytes = process.memoryUsage.rss();
  expect(libc.giveBackMemory()).toBe(true);
  const givenBytes = beforeBytes - process.memoryUsage.rss();
  expect(givenBytes).toBeGreaterThan((PIECES / 8) * PIECE_BYTES);
  expect(pieces).toHaveLength(PIECES / 2);
});
