import { expect, test } from 'vitest';
import { toPostgres } from './translate.ts';

test.each([
  ['SELECT systemId FROM units WHERE a = ? AND b = ?', 'SELECT "systemId" FROM units WHERE a = $1 AND b = $2'],
  [
    `SELECT 1 FROM messages WHERE outcome = 'notSent?' AND txn = ?`,
    `SELECT 1 FROM messages WHERE outcome = 'notSent?' AND txn = $1`,
  ],
  [`SELECT 'it''s aName' || ?`, `SELECT 'it''s aName' || $1`],
  ['-- What is wantedHere?\nSELECT blobs.fileSha3', '-- What is wantedHere?\nSELECT blobs."fileSha3"'],
  ['SELECT "asItIs" FROM OCTET_LENGTH(x)', 'SELECT "asItIs" FROM OCTET_LENGTH(x)'],
  ['SET status = excluded.modelName', 'SET status = excluded."modelName"'],
])('%s', (sql, expected) => expect(toPostgres(sql)).toBe(expected));
