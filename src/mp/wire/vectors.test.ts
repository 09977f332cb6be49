import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DescMessage, fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { iam, sm } from '../../api/contracts.ts';
import * as proxy from '../../api/gen/aosproxy/v1/aosproxy_pb.js';
import { encodeFrame, FrameReader } from './frame.ts';
import { encodeMessage, MessageReader } from './message.ts';

const SCHEMAS: readonly DescMessage[] = [
  iam.IAMOutgoingMessagesSchema,
  iam.IAMIncomingMessagesSchema,
  sm.SMOutgoingMessagesSchema,
  sm.SMIncomingMessagesSchema,
  sm.ProxyOutgoingMessagesSchema,
  sm.ProxyIncomingMessagesSchema,
  proxy.ProxyCallSchema,
  proxy.ProxyReplySchema,
];

const vectors = readFileSync(join(import.meta.dirname, '../../../test/vectors/mp/frames.tsv'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => {
    const [port, typeName, json, hex] = line.split('\t');
    const schema = SCHEMAS.find((known) => known.typeName === typeName)!;
    return { port: Number(port), schema, json: JSON.parse(json!) as JsonValue, bytes: Buffer.from(hex!, 'hex') };
  });

describe('golden frames', () => {
  test('[MP-04] every kind of message on every port has its bytes, written and read', () => {
    for (const { port, schema, json, bytes } of vectors) {
      const [frame] = new FrameReader().push(bytes);
      if (frame?.kind !== 'frame') throw new Error(`no frame for ${JSON.stringify(json)}`);
      expect(frame.port).toBe(port);
      const [body] = new MessageReader(65_532).push(frame.data);
      expect(toJson(schema, fromBinary(schema, body!))).toEqual(json);
      expect(encodeFrame(port, encodeMessage(toBinary(schema, fromJson(schema, json)))).equals(bytes)).toBe(true);
    }
  });

  test('no kind of message is missing', () => {
    for (const schema of SCHEMAS) {
      const kinds = schema.oneofs.flatMap((oneof) => oneof.fields.map((field) => field.jsonName));
      const seen = new Set(
        vectors.filter((vector) => vector.schema === schema).flatMap(({ json }) => Object.keys(json!)),
      );
      expect(kinds.filter((kind) => !seen.has(kind))).toEqual([]);
    }
  });
});
