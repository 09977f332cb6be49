import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as z from 'zod';
import { isAosError, Mailbox, parseJson, readDocument } from './index.ts';

const Schema = z.object({
  name: z.string(),
  size: z.number().optional(),
  deep: z.object({ list: z.array(z.object({ isOn: z.boolean() })) }).optional(),
  choice: z.union([z.object({ kind: z.literal('a'), a: z.string() }), z.object({ kind: z.literal('b') })]).optional(),
});
const read = (input: unknown, lenientScalars = false) =>
  readDocument(Schema, input, { what: 'a document', lenientScalars });

describe('documents from outside', () => {
  test('keys are matched without regard to case, and null is absent', () => {
    expect(read({ NAME: 'x', Size: null, DEEP: { List: [{ ison: true }] } }).value).toEqual({
      name: 'x',
      deep: { list: [{ isOn: true }] },
    });
  });

  test('of two keys that differ only in case the exact spelling wins, else the first', () => {
    expect(read({ NAME: 'first', name: 'exact' }).value.name).toBe('exact');
    expect(read({ NAME: 'first', Name: 'second' }).value.name).toBe('first');
  });

  test('a value of the wrong type is refused with place, expectation and finding', () => {
    expect(() => read({ name: 'x', deep: { list: [{ isOn: 7 }] } })).toThrow(
      /^a document: deep\.list\[0\]\.isOn: .*expected boolean.*, found 7$/,
    );
    expect(() => read({})).toThrow(/name: .*found nothing/);
    expect(() => read({ name: 'x', choice: { kind: 'a', a: 1 } })).toThrow(/choice\.a: .*found 1/);
  });

  test('an unknown key is a warning that names the nearest known one', () => {
    expect(read({ name: 'x', nam: 'y', deep: { list: [], lits: 1 }, wholly: 1 }).warnings).toEqual([
      'unknown key "nam" is ignored; did you mean "name"?',
      'unknown key "deep.lits" is ignored; did you mean "list"?',
      'unknown key "wholly" is ignored',
    ]);
  });

  test('scalars are converted only where that is asked for', () => {
    expect(read({ name: 5, size: '10' }, true).value).toEqual({ name: '5', size: 10 });
    expect(() => read({ name: 'x', size: '10' })).toThrow(/size/);
  });

  test('[R-06] whatever comes is read or refused, with an error of ours', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (input) => {
        try {
          read(input, true);
        } catch (error) {
          expect(isAosError(error, 'invalidArgument')).toBe(true);
        }
      }),
    );
    expect(() => parseJson('{', 'the answer')).toThrow(/^the answer is not JSON/);
  });
});

describe('mailboxes', () => {
  test('values come in the order in which they were put, then the end', async () => {
    const box = new Mailbox<number>(3);
    box.push(1);
    box.push(2);
    box.close();
    box.push(3);
    const seen: number[] = [];
    for await (const value of box) seen.push(value);
    expect(seen).toEqual([1, 2]);
  });

  test('a full box refuses, so nothing grows without bound', () => {
    const box = new Mailbox<number>(1);
    box.push(1);
    expect(() => box.push(2)).toThrow(/queue is full: 1 messages wait/);
  });

  test('what it fails with comes after the values that were there', async () => {
    const box = new Mailbox<number>(3);
    box.push(1);
    box.fail(new Error('the link broke'));
    const values = box[Symbol.asyncIterator]();
    expect((await values.next()).value).toBe(1);
    await expect(values.next()).rejects.toThrow('the link broke');
  });
});
