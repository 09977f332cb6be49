/** Messages of service managers, read (spec/grpc.md, servicemanager.v5; spec/cm.md 7.2). Pure. */
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { common, sm } from '../../api/contracts.ts';
import { readErrorMessage, readIdentMessage } from '../../api/index.ts';
import {
  AosError,
  asAosError,
  type ErrorInfo,
  INSTANCE_STATES,
  type InstanceIdent,
  instanceName,
  isInstanceState,
  shortenMessage,
  toErrorInfo,
} from '../../core/index.ts';
import type { ArchInfo, OsInfo, RuntimeInfo } from '../model.ts';
import type {
  AlertContent,
  LogPart,
  NodeAlert,
  NodeConfigStatus,
  NodeMonitoring,
  QuotaAlertState,
  ReportedInstance,
  SmInfo,
  Usage,
} from './model.ts';

/** Nothing that a peer says is kept without a bound. */
const MAX_REASON_BYTES = 2048;
/** The cloud takes no longer name: one such would keep the whole status of the unit from it (spec/cm.md 0.5). */
const MAX_NAME_BYTES = 64;
const QUOTA_STATES: ReadonlySet<string> = new Set<QuotaAlertState>(['raise', 'continue', 'fall']);

/** A peer's error as it came, or undefined for success. */
export function readError(message: common.ErrorInfo | undefined): ErrorInfo | undefined {
  const error = readErrorMessage(message);
  return error && toErrorInfo(error);
}

/** The cloud has no words for a later time. */
const LAST_TIME_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** A time on the wire; seconds of 0 or less mean that there is none (spec/decisions.md 7.1), so do those of no date. */
export function readTimestamp(timestamp: Timestamp | undefined): Date | undefined {
  if (!timestamp || timestamp.seconds <= 0n) return undefined;
  const ms = Number(timestamp.seconds) * 1000 + Math.floor(timestamp.nanos / 1e6);
  return ms <= LAST_TIME_MS ? new Date(ms) : undefined;
}

function readName(text: string, what: string): string {
  if (Buffer.byteLength(text) <= MAX_NAME_BYTES) return text;
  throw new AosError('invalidArgument', `${what} "${shortenMessage(text)}…" has more than ${MAX_NAME_BYTES} bytes`);
}

function readIdent(message: common.InstanceIdent | undefined): InstanceIdent {
  const ident = readIdentMessage(message);
  readName(ident.itemId, 'item');
  readName(ident.subjectId, 'subject');
  return ident;
}

export function readSmInfo(message: sm.SMInfo): SmInfo {
  if (message.nodeId === '') throw new AosError('invalidArgument', 'sm_info names no node');
  return {
    nodeId: readName(message.nodeId, 'node'),
    runtimes: message.runtimes.map(readRuntime),
    resources: message.resources.map(({ name, sharedCount }) => ({ name, sharedCount: Number(sharedCount) })),
  };
}

function readRuntime(message: sm.RuntimeInfo): RuntimeInfo {
  return {
    runtimeId: readName(message.runtimeId, 'runtime'),
    type: message.type,
    maxDmips: Number(message.maxDmips),
    allowedDmips: Number(message.allowedDmips),
    totalRam: Number(message.totalRam),
    allowedRam: Number(message.allowedRam),
    maxInstances: Number(message.maxInstances),
    os: readOs(message.osInfo),
    arch: readArch(message.archInfo),
  };
}

function readOs(message: common.OSInfo | undefined): OsInfo {
  return { os: message?.os ?? '', version: message?.version ?? '', features: message?.features ?? [] };
}

function readArch(message: common.ArchInfo | undefined): ArchInfo {
  return { architecture: message?.architecture ?? '', variant: message?.variant ?? '' };
}

/** What is understood of a report on instances, and what is wrong with it. */
export interface InstancesReport {
  readonly instances: readonly ReportedInstance[];
  readonly complaints: readonly AosError[];
}

/**
 * One wrong entry costs no other (spec/decisions.md C-17): an instance in a state that nobody knows counts as failed and
 * says why, one that cannot be named is left out.
 */
export function readInstances(messages: readonly sm.InstanceStatus[]): InstancesReport {
  const instances: ReportedInstance[] = [];
  const complaints: AosError[] = [];
  for (const message of messages) {
    try {
      const { instance, complaint } = readInstance(message);
      instances.push(instance);
      if (complaint) complaints.push(complaint);
    } catch (error) {
      complaints.push(asAosError(error));
    }
  }
  return { instances, complaints };
}

function readInstance(message: sm.InstanceStatus): { instance: ReportedInstance; complaint?: AosError } {
  const { state } = message;
  const error = readError(message.error);
  const instance = {
    ident: readIdent(message.instance),
    version: message.version,
    runtimeId: readName(message.runtimeId, 'runtime'),
    manifestDigest: message.manifestDigest,
    error,
    ...(message.reason && { reason: shortenMessage(message.reason, MAX_REASON_BYTES) }),
    envVars: message.envVars.map(({ name, error }) => ({ name, error: readError(error) })),
  };
  if (isInstanceState(state)) return { instance: { ...instance, state } };
  const complaint = new AosError(
    'invalidArgument',
    `unknown state "${shortenMessage(state)}" of ${instanceName(instance.ident)}, expected one of ${INSTANCE_STATES.join(', ')}`,
  );
  const failed = { state: 'failed', error: error ?? toErrorInfo(complaint), reason: complaint.message } as const;
  return { instance: { ...instance, ...failed }, complaint };
}

function readUsage(message: sm.MonitoringData | undefined): Usage {
  return {
    timestamp: readTimestamp(message?.timestamp),
    ram: Number(message?.ram ?? 0),
    cpu: Number(message?.cpu ?? 0),
    partitions: (message?.partitions ?? []).map(({ name, usedSize }) => ({ name, usedSize: Number(usedSize) })),
    download: Number(message?.download ?? 0),
    upload: Number(message?.upload ?? 0),
  };
}

export function readMonitoring(nodeId: string, message: sm.InstantMonitoring | sm.AverageMonitoring): NodeMonitoring {
  return {
    nodeId,
    node: readUsage(message.nodeMonitoring),
    instances: message.instancesMonitoring.map(({ instance, runtimeId, monitoringData }) => ({
      ident: readIdent(instance),
      runtimeId,
      usage: readUsage(monitoringData),
    })),
  };
}

export function readNodeConfigStatus(message: sm.NodeConfigStatus): NodeConfigStatus {
  return { state: message.state, version: message.version, error: readError(message.error) };
}

export function readLog(nodeId: string, message: sm.LogData): LogPart {
  return {
    nodeId,
    correlationId: message.correlationId,
    part: Number(message.part),
    partsCount: Number(message.partCount),
    content: message.data,
    status: message.status,
    error: readError(message.error),
  };
}

/** Throws `invalidArgument` for an alert that says nothing. */
export function readAlert(nodeId: string, message: sm.Alert): NodeAlert {
  return { nodeId, timestamp: readTimestamp(message.timestamp), content: readContent(message.AlertItem) };
}

function readContent(item: sm.Alert['AlertItem']): AlertContent {
  switch (item.case) {
    case 'systemQuotaAlert': {
      const { parameter, value, status } = item.value;
      return { tag: item.case, parameter, value: Number(value), state: readQuotaState(status) };
    }
    case 'instanceQuotaAlert': {
      const { instance, parameter, value, status } = item.value;
      const ident = readIdent(instance);
      return { tag: item.case, ident, parameter, value: Number(value), state: readQuotaState(status) };
    }
    case 'resourceAllocateAlert': {
      const { instance, resource, message } = item.value;
      return { tag: item.case, ident: readIdent(instance), deviceId: resource, message };
    }
    case 'systemAlert':
      return { tag: item.case, message: item.value.message };
    case 'coreAlert':
      return { tag: item.case, coreComponent: item.value.coreComponent, message: item.value.message };
    case 'instanceAlert': {
      const { instance, serviceVersion, message } = item.value;
      return { tag: 'updateItemInstanceAlert', ident: readIdent(instance), version: serviceVersion, message };
    }
    default:
      throw new AosError('invalidArgument', 'the alert is of no known kind');
  }
}

function readQuotaState(text: string): QuotaAlertState {
  if (!QUOTA_STATES.has(text)) throw new AosError('invalidArgument', `"${text}" is no state of a quota alert`);
  return text as QuotaAlertState;
}
