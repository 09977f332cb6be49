import { hash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AosError } from '../../core/index.ts';
import { encodeFrame, FRAME_HEADER_BYTES, FrameReader, frameHeader, MAX_FRAME_DATA_BYTES } from './frame.ts';

/** Cuts bytes at the given places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const borders = [...new Set([0, ...places.map((place) => place % (bytes.length + 1)), bytes.length])].sort(
    (a, b) => a - b,
  );
  return borders.slice(1).map((border, index) => bytes.subarray(borders[index], border));
}

const frames = fc.array(
  fc.record({
    port: fc.integer({ min: 0, max: 0xffffffff }),
    data: fc.uint8Array({ maxLength: 300 }).map(Buffer.from),
  }),
  { maxLength: 8 },
);

describe('frames', () => {
  test('[MP-04] a frame is port, size and checksum in 40 bytes, then the data', () => {
    const data = Buffer.from('070000001a050a0369616d', 'hex');
    expect(encodeFrame(1, data).toString('hex')).toBe(
      `010000000b0000008d856f5c290952ef9c13c5c8cb09b47b7f595d15e903af1452ea6a1dd786486d${data.toString('hex')}`,
    );
  });

  test('[MP-04] frames come out as they went in, wherever the stream is cut', () =>
    fc.assert(
      fc.property(frames, fc.array(fc.nat(), { maxLength: 40 }), (sent, places) => {
        const reader = new FrameReader();
        const bytes = Buffer.concat(sent.map(({ port, data }) => encodeFrame(port, data)));
        const read = cut(bytes, places).flatMap((piece) => reader.push(piece));
        expect(read).toEqual(sent.map(({ port, data }) => ({ kind: 'frame', port, data })));
      }),
    ));

  test('two frames that arrive byte by byte', () => {
    const reader = new FrameReader();
    const bytes = Buffer.concat([encodeFrame(3, Buffer.from('abc')), encodeFrame(4, Buffer.alloc(0))]);
    const read = [...bytes].flatMap((byte) => reader.push(Buffer.from([byte])));
    expect(read).toEqual([
      { kind: 'frame', port: 3, data: Buffer.from('abc') },
      { kind: 'frame', port: 4, data: Buffer.alloc(0) },
    ]);
  });

  test('data of no size has the checksum of nothing', () => {
    expect(encodeFrame(9, Buffer.alloc(0)).subarray(8).toString('hex')).toBe(
      'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    );
  });

  test('65,536 bytes of data go, 65,537 end the stream and are not sent', () => {
    const most = Buffer.alloc(MAX_FRAME_DATA_BYTES, 7);
    expect(new FrameReader().push(encodeFrame(2, most))).toHaveLength(1);
    expect(() => frameHeader(2, Buffer.alloc(MAX_FRAME_DATA_BYTES + 1))).toThrow(/at most 65536/);
    const header = Buffer.alloc(FRAME_HEADER_BYTES);
    header.writeUInt32LE(MAX_FRAME_DATA_BYTES + 1, 4);
    expect(() => new FrameReader().push(header)).toThrow(/announces 65537 bytes/);
  });

  test('a frame whose data was changed is dropped, and reading goes on', () => {
    const bad = encodeFrame(1, Buffer.from('hello'));
    bad[FRAME_HEADER_BYTES] = 0;
    expect(new FrameReader().push(Buffer.concat([bad, encodeFrame(1, Buffer.from('world'))]))).toEqual([
      { kind: 'badChecksum', port: 1, sizeBytes: 5 },
      { kind: 'frame', port: 1, data: Buffer.from('world') },
    ]);
  });

  test('garbage never throws anything but an AosError, and what is read is true to its checksum', () =>
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 20 }), (pieces) => {
        const reader = new FrameReader();
        try {
          for (const piece of pieces) {
            for (const frame of reader.push(Buffer.from(piece))) {
              if (frame.kind !== 'frame') continue;
              expect(frameHeader(frame.port, frame.data).subarray(8)).toEqual(hash('sha256', frame.data, 'buffer'));
            }
          }
        } catch (error) {
          expect(error).toBeInstanceOf(AosError);
        }
      }),
      { numRuns: 3000 },
    ));

  test('a frame with one changed byte anywhere is never read as another one of the same data', () =>
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 100 }),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (data, place, by) => {
          const bytes = encodeFrame(5, data);
          const index = 8 + (place % (bytes.length - 8));
          bytes[index] = bytes[index]! ^ by;
          expect(new FrameReader().push(bytes)).toEqual([{ kind: 'badChecksum', port: 5, sizeBytes: data.length }]);
        },
      ),
    ));
});
