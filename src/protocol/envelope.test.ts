import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  CLOUD_TO_UNIT,
  decodeCloudMessage,
  decodeEnvelope,
  decodeUnitMessage,
  encodeEnvelope,
  peekTxn,
} from './index.ts';
import { UNIT_TO_CLOUD } from './registry.ts';

const VECTORS = join(import.meta.dirname, '../../test/vectors/cloud');
const names = readdirSync(VECTORS).map((file) => file.replace('.json', ''));

interface Frame {
  header: Record<string, unknown>;
  data: Record<string, unknown>;
}

function vector(name: string): Frame {
  return JSON.parse(readFileSync(join(VECTORS, `${name}.json`), 'utf8'));
}

const bytes = (frame: unknown) => Buffer.from(typeof frame === 'string' ? frame : JSON.stringify(frame));

/** A vector with other header members. */
function withHeader(header: object): Buffer {
  const frame = vector('ack');
  return bytes({ ...frame, header: { ...frame.header, ...header } });
}

/** What 9.1 does not know is written beside what it knows. */
function asWritten(frame: Frame): Frame {
  if (frame.data.messageType !== 'desiredStatus') return frame;
  const items = (frame.data.items as { item: unknown }[]).map((entry) => ({ ...entry, identity: entry.item }));
  return { ...frame, data: { ...frame.data, items } };
}

describe('the published frames', () => {
  test('there is one of each message', () => {
    const known = new Set([...Object.keys(CLOUD_TO_UNIT), ...Object.keys(UNIT_TO_CLOUD)]);
    expect(known.size).toBe(26);
    expect(new Set(names.map((name) => name.replace('-delta', '')))).toEqual(known);
  });

  test.each(names)('[CM-06] %s is read whole and written byte for byte', (name) => {
    const frame = vector(name);
    const { header, data, refused, warnings } = decodeEnvelope(bytes(frame));
    expect({ refused, warnings }).toEqual({ refused: [], warnings: [] });
    const written = encodeEnvelope({
      txn: header.txn,
      systemId: header.systemId,
      createdAt: new Date(`${header.createdAt.slice(0, 23)}Z`),
      data,
    });
    expect(written.toString()).toBe(JSON.stringify(asWritten(frame)));
  });
});

describe('a frame is refused with its reason', () => {
  test.each<[string, Buffer, string]>([
    ['broken JSON', bytes('{"header":'), 'frame is not JSON'],
    ['no UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 'frame is not UTF-8'],
    ['an array', bytes('[]'), 'frame: expected an object, found []'],
    ['a header that is a text', bytes({ header: 'x', data: {} }), 'header'],
    ['no data', bytes({ header: vector('ack').header }), 'data'],
    ['data that is a list', bytes({ header: vector('ack').header, data: [] }), 'data'],
    ['[CM-12] another version', withHeader({ version: 6 }), 'header.version: expected 7, found 6'],
    ['no version', withHeader({ version: null }), 'version'],
    ['a version that is an object', withHeader({ version: {} }), 'version'],
    [
      '[CM-12] another unit',
      withHeader({ systemId: 'unit-2' }),
      'header.systemId: expected unit-7f31c2, found "unit-2"',
    ],
    ['no unit', withHeader({ systemId: null }), 'systemId'],
    [
      'an unknown type',
      bytes({ ...vector('ack'), data: { messageType: 'hello' } }),
      'data.messageType: expected one of',
    ],
    ['a type from a prototype', bytes({ ...vector('ack'), data: { messageType: 'toString' } }), 'data.messageType'],
    ['no type', bytes({ ...vector('ack'), data: {} }), 'messageType'],
    ["a message of the unit's own", bytes(vector('unitStatus')), 'data.messageType: expected one of'],
    [
      'a correlation id that is too long',
      bytes({ ...vector('ack'), data: { messageType: 'overrideEnvVars', correlationId: 'x'.repeat(38) } }),
      'correlationId: expected at most 37 bytes',
    ],
  ])('%s', (_, frame, reason) => {
    expect(() => decodeCloudMessage(frame, { systemId: 'unit-7f31c2' })).toThrow(reason);
  });

  test('a message of the cloud is none of a unit', () => {
    expect(() => decodeUnitMessage(bytes(vector('desiredStatus')))).toThrow('data.messageType');
  });

  test('the txn of a message that cannot be read can still be told', () => {
    const frame = { ...vector('ack'), data: { messageType: 'hello' } };
    expect(peekTxn(bytes(frame))).toBe(frame.header.txn);
    expect(peekTxn(bytes('nonsense'))).toBeUndefined();
  });
});

describe('reading is lenient where AosCore is', () => {
  test('keys in any case, numbers as text, null as absent, unknown members', () => {
    const frame = {
      HEADER: { Version: '7', SYSTEMID: 'u', createdAt: 12, txn: null, more: 1 },
      Data: {
        messagetype: 'updateState',
        correlationid: '',
        ITEM: { Id: 5, codename: null },
        subject: { id: 's' },
        instance: '3',
        statechecksum: 'ABCDEF01',
        state: 12,
        extra: {},
      },
    };
    const { header, data } = decodeCloudMessage(bytes(frame));
    expect(header).toEqual({ version: 7, systemId: 'u', createdAt: '', txn: '' });
    expect(data).toEqual({
      messageType: 'updateState',
      item: { id: '5' },
      subject: { id: 's' },
      instance: 3,
      stateChecksum: 'abcdef01',
      state: '12',
    });
  });
});
