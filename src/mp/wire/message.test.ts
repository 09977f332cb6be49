import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AosError } from '../../core/index.ts';
import { encodeMessage, MessageReader } from './message.ts';
import { goesOnFromHello, isApplicationData, isClientHello, splitRecords } from './tls-records.ts';

const pieces = (bytes: Buffer, size: number) =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  );

describe('messages', () => {
  test('[MP-04] messages come out whole, whatever the borders of frames and records', () =>
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 400 }).map(Buffer.from), { maxLength: 8 }),
        fc.integer({ min: 1, max: 500 }),
        (messages, size) => {
          const reader = new MessageReader(400);
          const bytes = Buffer.concat(messages.map(encodeMessage));
          expect(pieces(bytes, size).flatMap((piece) => reader.push(piece))).toEqual(messages);
        },
      ),
    ));

  test('a message that is too large ends the channel before any of it is kept', () => {
    const size = Buffer.alloc(4);
    size.writeUInt32LE(65_533);
    expect(() => new MessageReader(65_532).push(size)).toThrow(/announces 65533 bytes/);
  });

  test('garbage never throws anything but an AosError', () =>
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 20 }), (chunks) => {
        const reader = new MessageReader(1000);
        try {
          for (const chunk of chunks)
            for (const body of reader.push(Buffer.from(chunk))) expect(body.length).toBeLessThanOrEqual(1000);
        } catch (error) {
          expect(error).toBeInstanceOf(AosError);
        }
      }),
      { numRuns: 3000 },
    ));
});

describe('TLS records', () => {
  test('records are one piece each; cutting loses and changes nothing', () =>
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 })), fc.nat({ max: 5 }), (bodies, cutOff) => {
        const records = bodies.map((body) => {
          const header = Buffer.from([23, 3, 3, 0, 0]);
          header.writeUInt16BE(body.length, 3);
          return Buffer.concat([header, body]);
        });
        const bytes = Buffer.concat(records);
        const whole = splitRecords(bytes, 65_536);
        expect(whole).toEqual(records);
        const part = bytes.subarray(0, Math.max(0, bytes.length - cutOff));
        expect(Buffer.concat(splitRecords(part, 100))).toEqual(part);
      }),
    ));

  test('a client that begins is told from one that goes on', () => {
    expect(isClientHello(Buffer.from([22, 3, 1, 2, 0, 1, 0]))).toBe(true);
    expect(isClientHello(Buffer.from([22, 3, 3, 0, 20, 11, 0]))).toBe(false);
    expect(isApplicationData(Buffer.from([23, 3, 3]))).toBe(true);
    expect([[], [20, 3, 3, 0, 1, 1], [22, 3, 1, 2, 0, 1, 0]].map((data) => goesOnFromHello(Buffer.from(data)))).toEqual(
      [...[false, false, false]],
    );
    expect(
      [
        [23, 3, 3],
        [22, 3, 3, 0, 20, 16, 0],
        [21, 3, 3],
      ].map((data) => goesOnFromHello(Buffer.from(data))),
    ).toEqual([...[true, true, true]]);
  });
});
