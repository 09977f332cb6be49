import { describe, expect, test } from 'vitest';
import {
  type CloudMessage,
  decodeCloudMessage,
  decodeUnitMessage,
  formatTime,
  instanceFilter,
  normalizeTime,
  timeOf,
  type UnitMessage,
} from './index.ts';

const frame = (data: object) => Buffer.from(JSON.stringify({ header: { version: 7, systemId: 'u', txn: 't' }, data }));
const toUnit = (data: object) => decodeCloudMessage(frame(data));
const toCloud = (data: object) => decodeUnitMessage(frame(data));

function read<T extends CloudMessage['messageType']>(messageType: T, data: object) {
  return toUnit({ messageType, ...data }).data as Extract<CloudMessage, { messageType: T }>;
}

function readUnit<T extends UnitMessage['messageType']>(messageType: T, data: object) {
  return toCloud({ messageType, ...data }).data as Extract<UnitMessage, { messageType: T }>;
}

const digest = `sha256:${'0'.repeat(64)}`;
const item = { item: { id: 'i', type: 'service' }, version: '1.0.0', owner: { id: 'o' }, indexDigest: digest };

describe('desired status', () => {
  test('[CM-17] absent and null sections are kept apart from empty ones', () => {
    expect(read('desiredStatus', { items: null, instances: [] })).toEqual({
      messageType: 'desiredStatus',
      instances: [],
    });
  });

  test('an item is named by item or identity, by id, codename or urn', () => {
    const { items } = read('desiredStatus', {
      items: [
        { ...item, item: undefined, identity: { id: 'one', type: 'component' } },
        { ...item, identity: { id: 'not this one', type: 'component' } },
        { ...item, item: { codename: 'two', type: 'service' } },
        { ...item, item: { urn: 'three', type: 'service' } },
        { ...item, item: { id: '', codename: 'four', type: 'service' }, owner: { codename: 'o' } },
      ],
    });
    expect(items?.map(({ item: { id } }) => id)).toEqual(['one', 'i', 'two', 'three', 'four']);
  });

  test.each<[string, object, string]>([
    ['no identity', { ...item, item: undefined }, 'item: expected an identity'],
    ['no name', { ...item, item: { type: 'service' } }, 'expected an id'],
    ['an unknown type', { ...item, item: { id: 'i', type: 'wish' } }, 'expected type service or component'],
    ['a name of 65 bytes', { ...item, item: { id: 'x'.repeat(65), type: 'service' } }, 'expected at most 64 bytes'],
    ['no version', { ...item, version: '' }, 'expected a version'],
    ['a version of 33 bytes', { ...item, version: '1'.repeat(33) }, 'expected at most 32 bytes'],
    ['no owner', { ...item, owner: {} }, 'owner: expected an id'],
    ['a digest that is none', { ...item, indexDigest: 'sha512:00' }, 'expected sha256:<64 hex digits>'],
    ['nothing in it', {}, 'version'],
  ])('an item with %s is refused alone and by name', (_, bad, reason) => {
    const { data, refused } = toUnit({ messageType: 'desiredStatus', ITEMS: [bad, item] });
    expect(data).toMatchObject({ items: [item] });
    expect(refused).toHaveLength(1);
    expect(refused[0]).toMatchObject({ list: 'items', index: 0 });
    expect(refused[0]?.error.message).toContain('items[0]');
    expect(refused[0]?.error.message).toContain(reason);
  });

  test('a refused item tells which item and version it is about', () => {
    const { refused } = toUnit({ messageType: 'desiredStatus', items: [{ ...item, Item: item.item, owner: null }] });
    expect(refused).toMatchObject([{ id: 'i', version: '1.0.0' }]);
  });

  test('bad instances and certificates are refused alone, what cannot be reported drops the message', () => {
    const { data, refused } = toUnit({
      messageType: 'desiredStatus',
      instances: [{ item: { id: 'i' } }, { item: { id: 'i' }, subject: { id: 's' } }],
      certificates: [{ certificate: '***', fingerprint: 'f' }],
    });
    expect(refused.map(({ list, index }) => [list, index])).toEqual([
      ['instances', 0],
      ['certificates', 0],
    ]);
    expect(data).toMatchObject({ instances: [{ priority: 0, labels: [] }], certificates: [] });
    expect(() => read('desiredStatus', { subjects: [{ identity: { id: 's' }, type: 'herd' }] })).toThrow(
      'subjects[0].type',
    );
    expect(() => read('desiredStatus', { nodes: [{ item: {}, state: 'paused' }] })).toThrow('nodes[0].item');
  });

  const chain = (fingerprints: number) => ({
    name: 'c',
    fingerprints: Array.from({ length: fingerprints }, () => 'f'),
  });
  const many = <T>(count: number, entry: T) => Array.from({ length: count }, () => entry);

  test.each<[string, number, unknown]>([
    ['items', 1024, item],
    ['instances', 10_000, { item: { id: 'i' }, subject: { id: 's' } }],
    ['nodes', 128, { item: { codename: 'n' }, state: 'provisioned' }],
    ['subjects', 256, { identity: { id: 's' }, type: 'group' }],
    ['certificates', 32, { certificate: 'AAAA', fingerprint: 'f' }],
    ['certificateChains', 8, chain(8)],
  ])('[CM-34] [X-13] %s: %i are taken, one more drops the message', (list, max, entry) => {
    expect(read('desiredStatus', { [list]: many(max, entry) })).toBeDefined();
    expect(() => read('desiredStatus', { [list]: many(max + 1, entry) })).toThrow(
      `${list}: expected at most ${max} entries`,
    );
  });

  test('[CM-34] a chain of nine certificates drops the message', () => {
    expect(() => read('desiredStatus', { certificateChains: [chain(9)] })).toThrow('expected at most 8 entries');
  });

  test.each([
    ['below', -1],
    ['above', 1_000_000],
    ['broken', 1.5],
  ])('[CM-34] a priority %s its range refuses the instance alone', (_, priority) => {
    const good = { item: { id: 'i' }, subject: { id: 's' }, priority: 999_999 };
    const { data, refused } = toUnit({ messageType: 'desiredStatus', instances: [good, { ...good, priority }] });
    expect(data).toMatchObject({ instances: [good] });
    expect(refused).toMatchObject([{ list: 'instances', index: 1, id: 'i' }]);
  });

  test('what is left out: a subject is not of the unit, a priority is 0, a number of instances is nobody’s', () => {
    const status = read('desiredStatus', {
      subjects: [{ identity: { id: 's' }, type: 'group' }],
      instances: [{ item: { id: 'i' }, subject: { id: 's' } }],
    });
    expect(status.subjects).toEqual([{ identity: { id: 's' }, type: 'group', isReportedFromUnit: false }]);
    expect(status.instances).toEqual([{ item: { id: 'i' }, subject: { id: 's' }, priority: 0, labels: [] }]);
  });

  test('a node is named by codename, else by id', () => {
    const nodes = ['codename', 'id'].map((key) => ({ item: { [key]: 'n' }, state: 'paused' }));
    expect(read('desiredStatus', { nodes }).nodes).toEqual([
      { item: { codename: 'n' }, state: 'paused' },
      { item: { codename: 'n' }, state: 'paused' },
    ]);
  });

  test.each([
    [90, 'PT1M30S'],
    ['1.6', 'PT2S'],
    ['1m30s', 'PT1M30S'],
    ['P2DT4H', 'P2DT4H'],
    ['PT0.5S', 'PT0.5S'],
  ])('a duration of %s is %s', (minTimeout, expected) => {
    const node = { nodeGroupSubject: { codename: 'm' }, alertRules: { cpu: { minTimeout } } };
    const { unitConfig } = read('desiredStatus', { unitConfig: { version: '1', nodes: [node] } });
    expect(unitConfig?.nodes[0]?.alertRules?.cpu?.minTimeout).toBe(expected);
  });
});

describe('blobs', () => {
  const blob = { digest, urls: ['https://b'], size: 1, sha256: 'AB'.repeat(32) };
  const urls = (fields: object) => read('blobUrls', { correlationId: 'c', items: [{ ...blob, ...fields }] }).items[0];

  test('a checksum is hex or base64', () => {
    expect(urls({})?.sha256).toBe('ab'.repeat(32));
    expect(urls({ sha256: Buffer.from('ab'.repeat(32), 'hex').toString('base64') })?.sha256).toBe('ab'.repeat(32));
    expect(() => urls({ sha256: 'ab' })).toThrow('items[0].sha256');
  });

  test('at least one address is needed, and a time for a signature', () => {
    expect(() => urls({ urls: [] })).toThrow('expected at least one URL');
    const signInfo = { chainName: 'c', alg: 'RSA/SHA256', value: 'AA==' };
    expect(() => urls({ signInfo })).toThrow('signInfo.trustedTimestamp');
    const ocspValues = ['x'.repeat(1000)];
    expect(
      urls({ signInfo: { ...signInfo, ocspValues, trustedTimestamp: '2026-05-01T00:00:00' } })?.signInfo,
    ).toMatchObject({
      trustedTimestamp: '2026-05-01T00:00:00.000000Z',
    });
  });
});

describe('other messages of the cloud', () => {
  test('[CM-124] a log request without nodes, with any upload', () => {
    const request = { logType: 'systemLog', filter: {}, uploadOptions: { type: 'wss', url: 'x' } };
    expect(read('requestLog', request)).toMatchObject({ filter: { nodeIds: [] }, uploadOptions: { type: 'wss' } });
  });

  test('a filter without id selects nothing, an absent one everything', () => {
    const { items } = read('overrideEnvVars', { items: [{ item: {}, variables: [] }, {}] });
    expect(items.map(instanceFilter)).toEqual([{ itemId: '' }, {}]);
  });

  test('a bad variable is refused alone', () => {
    const variables = [{ name: 'A=B' }, { name: 'GOOD' }, { value: 'x' }, { name: 'TTL', ttl: 'soon' }];
    const { data, refused } = toUnit({ messageType: 'overrideEnvVars', items: [{ variables }] });
    expect(data).toMatchObject({ items: [{ variables: [{ name: 'GOOD', value: '' }] }] });
    expect(refused.map(({ list, index }) => [list, index])).toEqual([
      ['variables', 0],
      ['variables', 2],
      ['variables', 3],
    ]);
  });

  test('[CM-127] unit secrets come in four forms, and types of certificates in any', () => {
    const secret = { node: { codename: 'n' }, secret: 's' };
    for (const unitSecrets of [
      { version: 7, nodes: secret },
      { version: '2.0.0', nodes: [secret] },
      { version: '7', nodes: secret },
      { version: 2, nodes: [secret] },
    ]) {
      const certificates = [{ node: { codename: 'n' } }, { type: 'azure-iot', node: { codename: 'n' } }];
      const message = read('renewCertificatesNotification', { certificates, unitSecrets });
      expect(message.unitSecrets.nodes).toEqual([secret]);
      expect(message.certificates.map(({ type }) => type)).toEqual(['offline', 'azure-iot']);
    }
    expect(() => read('renewCertificatesNotification', { certificates: [] })).toThrow('unitSecrets');
  });
});

describe('what other units write', () => {
  test('alerts under the names of other schemas', () => {
    const common = { timestamp: '2026-05-04T10:21:01Z', item: { id: 'i' }, subjectId: 's', message: 'm' };
    const { items } = readUnit('alerts', {
      items: [
        { ...common, tag: 'deviceAllocateAlert', instance: 1, node: { codename: 'n' }, resource: 'can0' },
        { ...common, tag: 'updateItemInstanceAlert', instance: 1, version: '1' },
      ],
    });
    expect(items).toMatchObject([
      { tag: 'resourceAllocateAlert', deviceId: 'can0', subject: { id: 's' } },
      { tag: 'updateItemInstanceAlert', subject: { id: 's' } },
    ]);
  });

  test('an alert of an unknown kind is refused with its place', () => {
    const items = [{ timestamp: '2026-05-04T10:21:01Z', tag: 'moodAlert' }];
    expect(() => readUnit('alerts', { items })).toThrow('alerts: items[0]');
  });

  test('log parts that failed, node states, states of overrides', () => {
    const log = { node: { codename: 'n' }, part: 0, partsCount: 0, content: '', status: 'failed' };
    expect(readUnit('pushLog', log).status).toBe('error');
    const nodeStates = [{ timestamp: '2026-05-04T10:21:01Z', state: 'paused', connected: true }];
    const monitoring = { nodes: [{ node: { codename: 'n' }, nodeStates, items: [] }] };
    expect(readUnit('monitoringData', monitoring).nodes[0]?.nodeStates?.[0]?.isConnected).toBe(true);
    const statuses = [{ item: { id: 'i' }, subjectId: 's', instance: 0, name: 'A' }];
    expect(readUnit('overrideEnvVarsStatus', { statuses }).statuses[0]?.subject).toEqual({ id: 's' });
  });

  test('an error with a code of 0 or less is none', () => {
    const items = [0, -1, 5].map((aosCode) => ({
      item: { id: 'i', type: 'wish' },
      version: '1',
      state: 'error',
      errorInfo: { aosCode, message: 'm' },
    }));
    const status = readUnit('unitStatus', { isDeltaInfo: true, items });
    expect(status.items?.map(({ errorInfo }) => errorInfo?.aosCode)).toEqual([undefined, undefined, 5]);
    expect(status.items?.[0]).toMatchObject({ item: { id: 'i' }, state: 'failed' });
  });
});

describe('times', () => {
  test.each([
    ['2026-05-04T10:15:30Z', '2026-05-04T10:15:30.000000Z'],
    ['2026-05-04T10:15:30', '2026-05-04T10:15:30.000000Z'],
    ['2026-05-04T10:15:30.123456789Z', '2026-05-04T10:15:30.123456Z'],
    ['2026-05-04T10:15:30.1+02:00', '2026-05-04T08:15:30.100000Z'],
    ['2026-05-04T23:15:30-0130', '2026-05-05T00:45:30.000000Z'],
    ['2026-12-31T23:59:60Z', '2027-01-01T00:00:00.000000Z'],
  ])('%s is %s', (text, expected) => {
    expect(normalizeTime(text)).toBe(expected);
    expect(normalizeTime(expected)).toBe(expected);
  });

  test.each(['', 'soon', '2026-02-30T00:00:00Z', '2026-01-01', '2026-01-01T25:00:00Z', '2026-01-01T00:00:00 CEST'])(
    '"%s" is no time',
    (text) => expect(normalizeTime(text)).toBeUndefined(),
  );

  test('a moment survives writing and reading', () => {
    const now = new Date('2026-05-04T10:15:30.123Z');
    expect(formatTime(now)).toBe('2026-05-04T10:15:30.123000Z');
    expect(timeOf(formatTime(now))).toEqual(now);
  });
});
