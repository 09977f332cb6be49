import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isObject } from '../core/index.ts';
import {
  type Alert,
  type CloudMessage,
  decodeCloudMessage,
  decodeEnvelope,
  decodeUnitMessage,
  encodeEnvelope,
  formatTime,
  type UnitMessage,
} from './index.ts';

const name = fc.string({ minLength: 1, maxLength: 16, unit: 'grapheme-ascii' });
const uint = fc.maxSafeNat();
const version = fc.constantFrom('1.0.0', '2.1.0-rc.1', '0.0.1+b');
const time = fc.date({ min: new Date(0), max: new Date('2100-01-01'), noInvalidDate: true }).map(formatTime);
const digest = fc.stringMatching(/^[0-9a-f]{64}$/).map((hex) => `sha256:${hex}`);
const base64 = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString('base64'));
const codename = fc.record({ codename: name });
const id = fc.record({ id: name });
const reported = fc.oneof(id, codename);
const type = fc.constantFrom('service' as const, 'component' as const);
const errorInfo = fc.record({ aosCode: fc.integer({ min: 1, max: 14 }), exitCode: fc.integer(), message: fc.string() });

/** A record whose last members may be absent. */
const some = <T extends object, U extends object>(
  required: { [K in keyof T]: fc.Arbitrary<T[K]> },
  optional: { [K in keyof U]: fc.Arbitrary<U[K]> },
) =>
  fc.record({ ...required, ...optional } as never, { requiredKeys: Object.keys(required) as never }) as fc.Arbitrary<
    T & Partial<U>
  >;

const instance = { item: reported, subject: reported, instance: uint };

const desiredStatus = some(
  { messageType: fc.constant('desiredStatus' as const) },
  {
    correlationId: name,
    nodes: fc.array(fc.record({ item: codename, state: fc.constantFrom('provisioned' as const, 'paused' as const) })),
    items: fc.array(fc.record({ item: fc.record({ id: name, type }), version, owner: id, indexDigest: digest })),
    instances: fc.array(
      some(
        { item: id, subject: id, priority: fc.nat(999_999), labels: fc.array(name, { maxLength: 4 }) },
        { numInstances: uint },
      ),
    ),
    subjects: fc.array(
      fc.record({
        identity: id,
        type: fc.constantFrom('group' as const, 'user' as const),
        isReportedFromUnit: fc.boolean(),
      }),
    ),
    certificateChains: fc.array(fc.record({ name, fingerprints: fc.array(name, { maxLength: 8 }) }), { maxLength: 8 }),
  },
);

const blobUrls = fc.record({
  messageType: fc.constant('blobUrls' as const),
  correlationId: name,
  items: fc.array(
    some(
      {
        digest,
        urls: fc.array(fc.webUrl(), { minLength: 1, maxLength: 8 }),
        sha256: fc.stringMatching(/^[0-9a-f]{64}$/),
        size: uint,
      },
      {
        decryptInfo: fc.record({ blockAlg: name, blockIv: base64, blockKey: base64 }),
        signInfo: fc.record({ chainName: name, alg: name, value: base64, trustedTimestamp: time }),
      },
    ),
    { maxLength: 16 },
  ),
});

const overrideEnvVars = fc.record({
  messageType: fc.constant('overrideEnvVars' as const),
  items: fc.array(
    some(
      {
        variables: fc.array(
          some(
            { name: fc.stringMatching(/^[A-Z_]{1,20}$/), value: fc.string({ unit: 'grapheme-ascii' }) },
            { ttl: time },
          ),
          { maxLength: 16 },
        ),
      },
      { item: id, subject: id, instance: uint },
    ),
  ),
});

const cloudMessages: fc.Arbitrary<CloudMessage> = fc.oneof(desiredStatus, blobUrls, overrideEnvVars);

const unitStatus = some(
  { messageType: fc.constant('unitStatus' as const), isDeltaInfo: fc.boolean() },
  {
    items: fc.array(
      some({ item: reported, version, state: fc.constantFrom('pending' as const, 'failed' as const) }, { errorInfo }),
    ),
    instances: fc.array(
      fc.record({
        item: reported,
        subject: reported,
        version,
        instances: fc.array(
          some(
            {
              node: codename,
              runtime: codename,
              instance: uint,
              state: fc.constantFrom('activating' as const, 'active' as const, 'inactive' as const, 'failed' as const),
            },
            { errorInfo, stateChecksum: name },
          ),
        ),
      }),
    ),
    subjects: fc.array(codename),
  },
);

const alerts = fc.record({
  messageType: fc.constant('alerts' as const),
  items: fc.array(
    fc.oneof<fc.Arbitrary<Alert>[]>(
      fc.record({ timestamp: time, tag: fc.constant('systemAlert' as const), node: codename, message: fc.string() }),
      fc.record({
        timestamp: time,
        tag: fc.constant('instanceQuotaAlert' as const),
        ...instance,
        parameter: name,
        value: uint,
      }),
      some(
        {
          timestamp: time,
          tag: fc.constant('downloadProgressAlert' as const),
          digest,
          url: fc.string(),
          downloadedBytes: uint,
          totalBytes: uint,
          state: fc.constantFrom('started' as const, 'interrupted' as const),
        },
        { reason: fc.string(), errorInfo },
      ),
    ),
  ),
});

const unitMessages: fc.Arbitrary<UnitMessage> = fc.oneof(unitStatus, alerts);

const write = (data: CloudMessage | UnitMessage) =>
  encodeEnvelope({ txn: 't', systemId: 'u', createdAt: new Date(0), data });

test('[CM-06] what the unit writes, the cloud reads as the same', () => {
  fc.assert(
    fc.property(unitMessages, (message) => {
      const { data, warnings } = decodeUnitMessage(write(message));
      expect(data).toEqual(message);
      expect(warnings).toEqual([]);
      expect(write(data)).toEqual(write(message));
    }),
  );
});

test('what the cloud writes, the unit reads as the same', () => {
  fc.assert(
    fc.property(cloudMessages, (message) => {
      const { data, refused } = decodeCloudMessage(write(message));
      expect(refused).toEqual([]);
      expect(data).toEqual(message);
      expect(write(data)).toEqual(write(message));
    }),
  );
});

const VECTORS = join(import.meta.dirname, '../../test/vectors/cloud');
const vectors = readdirSync(VECTORS).map((file): unknown => JSON.parse(readFileSync(join(VECTORS, file), 'utf8')));

/** Puts a value in some place of a document. */
function disturb(document: unknown, path: readonly number[], value: unknown): unknown {
  const [step, ...rest] = path;
  if (step === undefined || typeof document !== 'object' || document === null) return value;
  const keys = Object.keys(document);
  if (keys.length === 0) return value;
  const key = keys[step % keys.length]!;
  const child = disturb((document as Record<string, unknown>)[key], rest, value);
  if (Array.isArray(document)) return document.map((entry, index) => (String(index) === key ? child : entry));
  return { ...document, [key]: child };
}

test('[R-06] whatever arrives is read whole or refused with a reason', () => {
  const frames = fc.oneof(
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc.json().map((text) => Buffer.from(text)),
    fc
      .tuple(fc.constantFrom(...vectors), fc.array(fc.nat(50), { minLength: 1, maxLength: 8 }), fc.jsonValue())
      .map(([document, path, value]) => Buffer.from(JSON.stringify(disturb(document, path, value)))),
  );
  fc.assert(
    fc.property(frames, (frame) => {
      try {
        const { data, header } = decodeEnvelope(frame);
        expect(isObject(data)).toBe(true);
        expect(encodeEnvelope({ txn: header.txn, systemId: 'u', createdAt: new Date(0), data }).length).toBeGreaterThan(
          0,
        );
      } catch (error) {
        expect(error).toMatchObject({ name: 'AosError', code: 'invalidArgument' });
      }
    }),
    { numRuns: 1000 },
  );
});
