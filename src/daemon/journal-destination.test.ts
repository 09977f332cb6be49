import { pino } from 'pino';
import { expect, test } from 'vitest';
import { journalDestination } from './journal-destination.ts';

test('[SM-53] the journal learns the weight of each line, so that errors of the daemons become core alerts', () => {
  const written: string[] = [];
  const logger = pino({ level: 'trace' }, journalDestination({ write: (text) => written.push(text) }));
  logger.fatal('a');
  logger.error('b');
  logger.warn('c');
  logger.info('d');
  logger.debug('e');
  logger.child({ room: 'x' }).error('f');
  expect(written.map((line) => `${line.slice(0, 4)}${(JSON.parse(line.slice(3)) as { msg: string }).msg}`)).toEqual([
    ...['<2>{a', '<3>{b', '<4>{c', '<6>{d', '<7>{e', '<3>{f'],
  ]);
});
