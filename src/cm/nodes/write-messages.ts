/** Messages to service managers (spec/grpc.md, servicemanager.v5). Pure, and equal for equal input. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { sm } from '../../api/contracts.ts';
import { filterMessage, identMessage } from '../../api/index.ts';
import type { AlertRules, PercentRule, PointRule } from '../../oci/index.ts';
import type { InstanceInfo, LogRequest, UpdateInstances } from './model.ts';

export type OutgoingMessage = NonNullable<MessageInitShape<typeof sm.SMIncomingMessagesSchema>['SMIncomingMessage']>;

export function connectionStatusMessage(isConnected: boolean): OutgoingMessage {
  const cloudStatus = isConnected ? sm.ConnectionEnum.CONNECTED : sm.ConnectionEnum.DISCONNECTED;
  return { case: 'connectionStatus', value: { cloudStatus } };
}

export function updateInstancesMessage(update: UpdateInstances): OutgoingMessage {
  return {
    case: 'updateInstances',
    value: { startInstances: update.start.map(infoMessage), stopInstances: update.stop.map(identMessage) },
  };
}

function infoMessage(info: InstanceInfo): MessageInitShape<typeof sm.InstanceInfoSchema> {
  return {
    instance: identMessage(info.ident),
    version: info.version,
    manifestDigest: info.manifestDigest,
    ownerId: info.ownerId,
    runtimeId: info.runtimeId,
    uid: info.uid,
    gid: info.gid,
    priority: BigInt(info.priority),
    storagePath: info.storagePath,
    statePath: info.statePath,
    envVars: info.envVars.map(({ name, value }) => ({ name, value })),
    ...(info.monitoring ? { monitoringParameters: monitoringMessage(info.monitoring.alertRules) } : {}),
  };
}

function monitoringMessage(rules: AlertRules | undefined): MessageInitShape<typeof sm.MonitoringParametersSchema> {
  if (!rules) return {};
  return {
    alertRules: {
      ...(rules.ram ? { ram: percentMessage(rules.ram) } : {}),
      ...(rules.cpu ? { cpu: percentMessage(rules.cpu) } : {}),
      // In a fixed order: an SM restarts what looks different.
      partitions: [...rules.partitions]
        .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
        .map((rule) => ({ name: rule.name, ...percentMessage(rule) })),
      ...(rules.download ? { download: pointMessage(rules.download) } : {}),
      ...(rules.upload ? { upload: pointMessage(rules.upload) } : {}),
    },
  };
}

/** Twins store percents as whole numbers: a fraction would look changed after their restart (spec/decisions.md 7.2). */
function percentMessage({ minTimeoutMs, minThreshold, maxThreshold }: PercentRule) {
  return {
    duration: durationFromMs(minTimeoutMs),
    minThreshold: Math.trunc(minThreshold),
    maxThreshold: Math.trunc(maxThreshold),
  };
}

function pointMessage({ minTimeoutMs, minThreshold, maxThreshold }: PointRule) {
  return {
    duration: durationFromMs(minTimeoutMs),
    minThreshold: BigInt(minThreshold),
    maxThreshold: BigInt(maxThreshold),
  };
}

export function logRequestMessage(request: LogRequest): OutgoingMessage {
  const { correlationId, logType } = request;
  const range = {
    ...(request.from ? { from: timestampFromDate(request.from) } : {}),
    ...(request.till ? { till: timestampFromDate(request.till) } : {}),
  };
  if (logType === 'systemLog') return { case: 'systemLogRequest', value: { correlationId, ...range } };
  const value = { correlationId, filter: filterMessage(request.filter), ...range };
  return logType === 'instanceLog' ? { case: 'instanceLogRequest', value } : { case: 'instanceCrashLogRequest', value };
}
