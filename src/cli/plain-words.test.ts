import { expect, test } from 'vitest';
import { plainWords } from './plain-words.ts';

test.each([
  ["cannot read /x: ENOENT: no such file or directory, open '/x'", 'cannot read /x: no such file or directory'],
  ["EACCES: permission denied, open '/x'", '/x: permission denied'],
  [
    "cannot write: EXDEV: cross-device link not permitted, rename '/a' -> '/b'",
    'cannot write: /a: cross-device link not permitted',
  ],
  ['ENOSPC: no space left on device, write', 'no space left on device'],
  ['cannot reach it: connect ECONNREFUSED 127.0.0.1:1', 'cannot reach it: connect ECONNREFUSED 127.0.0.1:1'],
  [
    'This operation was aborted. The cloud has registered car already',
    'it was ended before it was done. The cloud has registered car already',
  ],
  ['cannot write x: The operation was aborted', 'cannot write x: it was ended before it was done'],
])('what the system says is told in words: %s', (said, told) => {
  expect(plainWords(said)).toBe(told);
});
