import { expect, test } from 'vitest';
import type { NewEvent } from '../events/index.ts';
import { DownloadDiary } from './download-diary.ts';

function diary() {
  const told: string[] = [];
  const record = ({ about, what, because }: NewEvent) => told.push(`${about.kind} ${what}: ${because}`);
  const book = new DownloadDiary({ record });
  const take = (digest: string, state: 'started' | 'interrupted' | 'finished', reason?: string) =>
    book.take({ digest, url: 'http://blobs/1', downloadedBytes: 0, totalBytes: 1, state, ...(reason && { reason }) });
  return { told, take };
}

test('[P-03] why a blob does not come is told once, and again when the reason is another or it comes back', () => {
  const { told, take } = diary();
  take('a', 'started');
  for (const reason of ['no answer', 'no answer', 'bad certificate']) take('a', 'interrupted', reason);
  take('b', 'interrupted', 'no answer');
  take('a', 'finished');
  take('a', 'interrupted', 'bad certificate');
  expect(told).toEqual([
    'update blob a does not come, and is tried again: no answer',
    'update blob a does not come, and is tried again: bad certificate',
    'update blob b does not come, and is tried again: no answer',
    'update blob a does not come, and is tried again: bad certificate',
  ]);
});

test('what is remembered is bounded', () => {
  const { told, take } = diary();
  for (let index = 0; index < 300; index += 1) take(`${index}`, 'interrupted', 'no answer');
  take('299', 'interrupted', 'no answer');
  expect(told).toHaveLength(300);
  take('0', 'interrupted', 'no answer');
  expect(told).toHaveLength(301);
});
