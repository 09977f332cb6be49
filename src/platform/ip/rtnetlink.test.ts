import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addressBytes,
  addressRequest,
  defaultRouteRequest,
  encodeRequests,
  linkListRequest,
  linksIn,
  repliesIn,
  upRequest,
} from './rtnetlink.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');

describe('requests, byte by byte as `ip` sends them', () => {
  test('an interface is switched on', () => {
    expect(encodeRequests([upRequest(1, 'lo')])).toEqual(
      hex('20000000 1000 0500 00000000 00000000  00 00 0000 01000000 01000000 01000000'),
    );
  });

  test('an address, of IPv4 and of IPv6', () => {
    expect(addressRequest(2, { address: '172.17.0.2', prefix: 16 }).body).toEqual(
      hex('02 10 00 00 02000000  0800 0200 ac110002  0800 0100 ac110002'),
    );
    const { body } = addressRequest(2, { address: 'fd00:1::ac11:2', prefix: 64 });
    const address = 'fd00 0001 0000 0000 0000 0000 ac11 0002';
    expect(body).toEqual(hex(`0a 40 02 00 02000000  1400 0200 ${address}  1400 0100 ${address}`));
  });

  test('the way out', () => {
    expect(defaultRouteRequest('172.17.0.1').body).toEqual(hex('02 00 00 00 fe 03 00 01 00000000  0800 0500 ac110001'));
  });

  test('several go as one, each with its place, and all are to be answered', () => {
    const requests = [upRequest(1, 'lo'), addressRequest(2, { address: '10.0.0.1', prefix: 8 })];
    const bytes = encodeRequests(requests);
    expect([bytes.readUInt32LE(8), bytes.readUInt32LE(32 + 8)]).toEqual([0, 1]);
    expect(bytes.readUInt16LE(32 + 6)).toBe(0x01 | 0x04 | 0x200 | 0x400);
  });

  test.each(['', 'localhost', '172.17.0', '172.17.0.256', '1:2', '::1%eth0', '::ffff:1.2.3.4'])(
    '"%s" is no address',
    (text) => {
      expect(() => addressBytes(text)).toThrow(expect.objectContaining({ code: 'invalidArgument' }));
    },
  );

  test('an address keeps its meaning however it is shortened', () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        fc.pre(!text.includes('.'));
        const bytes = addressBytes(text);
        const whole = [...Array(8).keys()].map((group) => bytes.readUInt16BE(2 * group).toString(16)).join(':');
        expect(bytes).toHaveLength(16);
        expect(new URL(`http://[${whole}]`).hostname).toBe(new URL(`http://[${text}]`).hostname);
      }),
    );
  });
});

describe('answers', () => {
  test('one for each request, with the number of what went wrong', () => {
    const done = '24000000 0200 0001 00000000 39300000  00000000 20000000 10000500 00000000 00000000';
    const exists = '24000000 0200 0000 01000000 39300000  efffffff 28000000 14000506 01000000 00000000';
    expect(repliesIn(hex(done + exists))).toEqual([
      { index: 0, errno: 0 },
      { index: 1, errno: 17 },
    ]);
  });

  test('links with their kind and what they are a port of; the last part, and one that was torn', () => {
    const name = '0a00 0300 766574683100 0000'; // veth1
    const kind = '1000 1280 0900 0100 7665746800 000000'; // nested: veth
    const body = `00 00 0100 07000000 00000000 00000000 ${name} 0800 0a00 03000000 ${kind}`;
    const length = (16 + hex(body).length).toString(16).padStart(2, '0');
    const link = `${length}000000 1000 0200 00000000 39300000 ${body}`;
    const end = '14000000 0300 0200 00000000 39300000 00000000';
    const links = [{ index: 7, name: 'veth1', master: 3, kind: 'veth' }];
    expect(linksIn(hex(link))).toEqual({ links, isLast: false, isTorn: false, errno: 0 });
    expect(linksIn(hex(link + end))).toEqual({ links, isLast: true, isTorn: false, errno: 0 });
    expect(linksIn(hex(link.replace('1000 0200', '1000 1200')))).toMatchObject({ isTorn: true });
    expect(linksIn(hex(`24000000 0200 0000 00000000 39300000 ffffffff${'00'.repeat(16)}`))).toMatchObject({ errno: 1 });
    expect(linkListRequest().readUInt16LE(6)).toBe(0x301);
  });

  test('garbage is read as far as it can be', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        repliesIn(Buffer.concat([hex('24000000 0200 0000 00000000 00000000'), bytes, Buffer.alloc(36)]));
        linksIn(bytes);
      }),
    );
  });
});
