/** Between messages of `servicemanager.v5` and the plain data of the SM (spec/grpc.md, spec/sm.md 2). */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Duration } from '@bufbuild/protobuf/wkt';
import type { sm } from '../../api/contracts.ts';
import { errorMessage, identMessage, readIdentMessage } from '../../api/index.ts';
import type { InstanceInfo, InstanceStatus, MonitoringParameters, PercentRule, UpdateRequest } from '../model.ts';

export type OutgoingMessage = NonNullable<MessageInitShape<typeof sm.SMOutgoingMessagesSchema>['SMOutgoingMessage']>;

/** Throws `invalidArgument` when an entry names no instance. */
export function readUpdate(message: sm.UpdateInstances): UpdateRequest {
  return {
    start: message.startInstances.map(readInstanceInfo),
    stop: message.stopInstances.map((ident) => readIdentMessage(ident)),
  };
}

/** Absent members stay absent, so that equal messages give equal values. */
export function readInstanceInfo(message: sm.InstanceInfo): InstanceInfo {
  const monitoring = message.monitoringParameters && readMonitoring(message.monitoringParameters);
  return {
    ident: readIdentMessage(message.instance),
    version: message.version,
    manifestDigest: message.manifestDigest,
    ownerId: message.ownerId,
    runtimeId: message.runtimeId,
    uid: message.uid,
    gid: message.gid,
    priority: Number(message.priority),
    storagePath: message.storagePath,
    statePath: message.statePath,
    envVars: message.envVars.map(({ name, value }) => ({ name, value })),
    ...(monitoring ? { monitoring } : {}),
  };
}

function readMonitoring({ alertRules }: sm.MonitoringParameters): MonitoringParameters {
  if (!alertRules) return { partitions: [] };
  const { ram, cpu, download, upload, partitions } = alertRules;
  return {
    ...(ram ? { ram: readRule(ram) } : {}),
    ...(cpu ? { cpu: readRule(cpu) } : {}),
    partitions: partitions.map((rule) => ({ name: rule.name, ...readRule(rule) })),
    ...(download ? { download: readRule(download) } : {}),
    ...(upload ? { upload: readRule(upload) } : {}),
  };
}

interface RuleMessage {
  readonly duration?: Duration | undefined;
  readonly minThreshold: number | bigint;
  readonly maxThreshold: number | bigint;
}

function readRule({ duration, minThreshold, maxThreshold }: RuleMessage): PercentRule {
  return {
    durationMs: duration ? Number(duration.seconds) * 1000 + duration.nanos / 1e6 : 0,
    minThreshold: Number(minThreshold),
    maxThreshold: Number(maxThreshold),
  };
}

/** Every status carries an error object, zeros when there is none (spec/sm.md 0.3). */
export function statusMessage(status: InstanceStatus): MessageInitShape<typeof sm.InstanceStatusSchema> {
  return {
    instance: identMessage(status.ident),
    version: status.version,
    runtimeId: status.runtimeId,
    manifestDigest: status.manifestDigest,
    envVars: status.envVars.map(({ name, error }) => ({ name, error: zeroOr(error) })),
    state: status.state,
    error: zeroOr(status.error),
    ...(status.reason !== undefined && { reason: status.reason }),
  };
}

/** An error that has been brought into its wire form already. */
export function zeroOr(error: InstanceStatus['error']) {
  return error ?? errorMessage(undefined);
}
