import { expect, test } from 'vitest';
import { reachableUrl } from './loopback.ts';

test.each([
  ['http://localhost:8094/blobs/sha256/ab', 'main', 'http://main:8094/blobs/sha256/ab'],
  ['http://127.0.0.1:8094/x?y=1', '10.0.0.1', 'http://10.0.0.1:8094/x?y=1'],
  ['http://[::1]:8094/x', 'fd00::1', 'http://[fd00::1]:8094/x'],
  ['http://localhost:8094/x', 'localhost', 'http://localhost:8094/x'],
  ['http://10.0.0.2:8094/x', 'main', 'http://10.0.0.2:8094/x'],
  ['file:///blobs/x', 'main', 'file:///blobs/x'],
  ['no url', 'main', 'no url'],
])('[SM-05] a node reaches %s of the CM at %s as %s', (url, cmHost, expected) => {
  expect(reachableUrl(url, cmHost)).toBe(expected);
});
