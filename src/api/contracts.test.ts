import { readFileSync } from 'node:fs';
import { create, type DescField, type DescFile, type DescMessage, ScalarType, toBinary } from '@bufbuild/protobuf';
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';
import { expect, test } from 'vitest';
import { file_common_v1_common } from './gen/common/v1/common_pb.js';
import { file_common_v2_common } from './gen/common/v2/common_pb.js';
import { file_communicationmanager_v3_updatescheduler } from './gen/communicationmanager/v3/updatescheduler_pb.js';
import { file_iamanager_v6_iamanager } from './gen/iamanager/v6/iamanager_pb.js';
import { file_iamanager_version } from './gen/iamanager/version_pb.js';
import { file_servicemanager_v5_network } from './gen/servicemanager/v5/network_pb.js';
import {
  file_servicemanager_v5_servicemanager,
  InstanceStatusSchema,
} from './gen/servicemanager/v5/servicemanager_pb.js';
import { file_updatemanager_v2_updatemanager } from './gen/updatemanager/v2/updatemanager_pb.js';

const FILES: readonly DescFile[] = [
  file_common_v1_common,
  file_common_v2_common,
  file_communicationmanager_v3_updatescheduler,
  file_iamanager_v6_iamanager,
  file_iamanager_version,
  file_servicemanager_v5_network,
  file_servicemanager_v5_servicemanager,
  file_updatemanager_v2_updatemanager,
];

/** What is ours alone (docs/decisions/0024-whole-reasons.md). */
const OURS = ['field\tservicemanager.v5.InstanceStatus\t1000\treason\tstring\t'];

/** One line per RPC, enum value and field, in the form of the vector file. */
function describeContracts(): string[] {
  const lines: string[] = [];
  for (const file of FILES) {
    for (const service of file.services) {
      for (const rpc of service.methods) {
        const request = rpc.methodKind === 'client_streaming' || rpc.methodKind === 'bidi_streaming' ? 'stream ' : '';
        const response = rpc.methodKind === 'server_streaming' || rpc.methodKind === 'bidi_streaming' ? 'stream ' : '';
        lines.push(
          [
            'rpc',
            service.typeName,
            rpc.name,
            request + shortName(rpc.input, file),
            response + shortName(rpc.output, file),
          ].join('\t'),
        );
      }
    }
    for (const enumeration of file.enums) {
      for (const value of enumeration.values)
        lines.push(['enum', enumeration.typeName, value.name, value.number].join('\t'));
    }
    for (const message of file.messages) {
      if (message.fields.length === 0) lines.push(['empty', message.typeName].join('\t'));
      for (const field of message.fields) {
        lines.push(
          ['field', message.typeName, field.number, field.name, fieldType(field), field.oneof?.name ?? ''].join('\t'),
        );
      }
    }
  }
  return lines;
}

function shortName(message: DescMessage, file: DescFile): string {
  const inPackage = `${file.proto.package}.`;
  return message.typeName.startsWith(inPackage) ? message.typeName.slice(inPackage.length) : message.typeName;
}

function fieldType(field: DescField): string {
  if (field.fieldKind === 'list') return `repeated ${elementType(field)}`;
  if (field.fieldKind === 'map') {
    const value = field.mapKind === 'message' ? field.message.typeName : ScalarType[field.scalar!].toLowerCase();
    return `map<${ScalarType[field.mapKey].toLowerCase()}, ${value}>`;
  }
  return elementType(field);
}

function elementType(field: DescField): string {
  if (field.message) return field.message.typeName;
  if (field.enum) return field.enum.typeName;
  return ScalarType[field.scalar!].toLowerCase();
}

test('[X-02] every package, RPC, enum value and field number is that of the contract table', () => {
  const table = readFileSync(new URL('../../test/vectors/grpc-contracts.tsv', import.meta.url), 'utf8');
  const expected = table.replace(/\n$/, '').split('\n');
  const ours = new Set(OURS);
  const lines = describeContracts();
  expect(lines.filter((line) => !ours.has(line)).toSorted()).toEqual(expected.toSorted());
  expect(lines.filter((line) => ours.has(line)).toSorted()).toEqual(OURS.toSorted());
  expect(expected.length).toBeGreaterThan(400);
});

test('[X-02] what we add may be absent, and comes after all that a peer knows', () => {
  expect(InstanceStatusSchema.field.reason.presence).toBe(FeatureSet_FieldPresence.EXPLICIT);
  const bare = create(InstanceStatusSchema, { state: 'failed', error: { aosCode: 7 } });
  const told = create(InstanceStatusSchema, { ...bare, reason: 'a long story' });
  const bytes = toBinary(InstanceStatusSchema, bare);
  expect(toBinary(InstanceStatusSchema, told).subarray(0, bytes.length)).toEqual(bytes);
});
