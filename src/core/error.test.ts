import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  AosError,
  asAosError,
  canceledBy,
  ERROR_CODES,
  type ErrorCode,
  fromErrorInfo,
  isAosError,
  shortenMessage,
  throwIfCanceled,
  toErrorInfo,
  toIamErrorInfo,
} from './index.ts';

const CODES = Object.keys(ERROR_CODES).filter((code) => code !== 'none') as ErrorCode[];

describe('an unknown error becomes one of ours', () => {
  test.each([
    ['ENOENT', 'notFound'],
    ['EEXIST', 'alreadyExist'],
    ['ENOSPC', 'noMemory'],
    ['EDQUOT', 'noMemory'],
    ['ETIMEDOUT', 'timeout'],
    ['EPERM', 'runtime'],
  ])('%s of the system is %s, with its number', (name, code) => {
    const system = Object.assign(new Error(`${name}: no`), { code: name, errno: -7 });
    expect(asAosError(system, 'cannot read /x')).toMatchObject({
      code,
      exitCode: 7,
      message: `cannot read /x: ${name}: no`,
    });
  });

  test('an aborted signal is a cancellation, or what it was aborted with', () => {
    expect(canceledBy(AbortSignal.abort()).code).toBe('canceled');
    expect(canceledBy(AbortSignal.abort('enough')).code).toBe('canceled');
    expect(canceledBy(AbortSignal.abort(new AosError('timeout', 'too late'))).code).toBe('timeout');
    expect(() => throwIfCanceled(AbortSignal.abort())).toThrow(AosError);
    expect(() => throwIfCanceled(undefined)).not.toThrow();
  });

  test('one of ours keeps its class, number and fields when it is told what it was done for', () => {
    const inner = new AosError('notFound', 'no such layer', { exitCode: 3, fields: { layer: 'x' } });
    const outer = asAosError(inner, 'cannot install');
    expect(outer).toMatchObject({ code: 'notFound', exitCode: 3, message: 'cannot install: no such layer' });
    expect(outer.fields).toEqual({ layer: 'x' });
    expect(isAosError(outer, 'notFound')).toBe(true);
    expect(asAosError('a text')).toMatchObject({ code: 'failed', message: 'a text' });
  });
});

describe('what is sent', () => {
  test('the innermost words, since sent texts are short', () => {
    const inner = new AosError('invalidArgument', 'entry ../x of the layer is refused');
    expect(toErrorInfo(asAosError(inner, 'cannot install item 1.0.0: layer 0 of item 1.0.0'))).toEqual({
      aosCode: 6,
      exitCode: 0,
      message: 'entry ../x of the layer is refused',
    });
  });

  test('[X-02] an answer of IAM never carries an exit code of 0, which twins read as success', () => {
    for (const code of CODES) {
      const info = toIamErrorInfo(new AosError(code, 'it failed'));
      expect(info.exitCode).not.toBe(0);
      expect(info.aosCode).toBe(ERROR_CODES[code]);
    }
    expect(toIamErrorInfo(new AosError('runtime', 'no', { exitCode: 13 })).exitCode).toBe(13);
  });

  test('a text is cut at 63 bytes, between characters', () => {
    expect(shortenMessage('a'.repeat(63))).toHaveLength(63);
    expect(shortenMessage(`${'a'.repeat(62)}é`)).toBe('a'.repeat(62));
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 100 }), (text) => {
        const short = shortenMessage(text);
        expect(Buffer.byteLength(short)).toBeLessThanOrEqual(63);
        expect(text.startsWith(short)).toBe(true);
      }),
    );
  });
});

describe('what a peer reported', () => {
  test('zeros and no text are success, anything else is a failure', () => {
    expect(fromErrorInfo(undefined)).toBeUndefined();
    expect(fromErrorInfo({ aosCode: 0, exitCode: 0, message: '' })).toBeUndefined();
    expect(fromErrorInfo({ aosCode: 0, exitCode: 2, message: '' })?.code).toBe('runtime');
    expect(fromErrorInfo({ aosCode: 0, exitCode: 0, message: 'odd' })).toMatchObject({ message: 'odd' });
    expect(fromErrorInfo({ aosCode: 99, exitCode: 0, message: 'new' })?.code).toBe('failed');
  });

  test('every class comes back as it was sent', () => {
    for (const code of CODES) {
      expect(fromErrorInfo(toErrorInfo(new AosError(code, 'text', { exitCode: 5 })))).toMatchObject({
        code,
        exitCode: 5,
        message: 'text',
      });
    }
  });
});
