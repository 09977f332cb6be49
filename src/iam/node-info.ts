/** Description of a node: as plain data, on the wire, and as the database keeps it (spec/iam.md 5, 19). */
import type { MessageInitShape } from '@bufbuild/protobuf';
import * as z from 'zod';
import type { iam } from '../api/contracts.ts';
import { iamErrorMessage, readErrorMessage } from '../api/index.ts';
import {
  AosError,
  type ErrorInfo,
  isNodeState,
  NODE_STATES,
  type NodeState,
  readDocument,
  toIamErrorInfo,
} from '../core/index.ts';
import {
  MAX_ATTRIBUTE_LENGTH,
  MAX_ATTRIBUTES,
  MAX_CPUS,
  MAX_DESCRIPTION_LENGTH,
  MAX_ID_LENGTH,
  MAX_OS_FEATURES,
  MAX_PARTITION_TYPES,
  MAX_PARTITIONS,
} from './limits.ts';

export interface CpuInfo {
  readonly modelName: string;
  readonly numCores: number;
  readonly numThreads: number;
  readonly architecture: string;
  readonly variant?: string | undefined;
  readonly maxDmips?: number | undefined;
}

export interface PartitionInfo {
  readonly name: string;
  readonly path: string;
  readonly types: readonly string[];
  readonly totalSizeBytes: number;
}

export interface NodeInfo {
  readonly nodeId: string;
  readonly nodeType: string;
  readonly title: string;
  readonly maxDmips: number;
  readonly totalRamBytes: number;
  readonly physicalRamBytes?: number | undefined;
  readonly os: string;
  readonly osVersion?: string | undefined;
  readonly osFeatures: readonly string[];
  readonly cpus: readonly CpuInfo[];
  readonly partitions: readonly PartitionInfo[];
  readonly attrs: Readonly<Record<string, string>>;
  readonly state: NodeState;
  readonly error?: ErrorInfo | undefined;
}

export function nodeInfoMessage(info: NodeInfo): MessageInitShape<typeof iam.NodeInfoSchema> {
  return {
    nodeId: info.nodeId,
    nodeType: info.nodeType,
    title: info.title,
    maxDmips: BigInt(info.maxDmips),
    totalRam: BigInt(info.totalRamBytes),
    physicalRam: BigInt(info.physicalRamBytes ?? 0),
    osInfo: { os: info.os, version: info.osVersion ?? '', features: [...info.osFeatures] },
    cpus: info.cpus.map((cpu) => ({
      modelName: cpu.modelName,
      numCores: BigInt(cpu.numCores),
      numThreads: BigInt(cpu.numThreads),
      archInfo: { architecture: cpu.architecture, variant: cpu.variant ?? '' },
      maxDmips: BigInt(cpu.maxDmips ?? 0),
    })),
    partitions: info.partitions.map(({ name, path, types, totalSizeBytes }) => ({
      name,
      path,
      types: [...types],
      totalSize: BigInt(totalSizeBytes),
    })),
    attrs: Object.entries(info.attrs).map(([name, value]) => ({ name, value })),
    state: info.state,
    ...(info.error
      ? { error: info.error.exitCode === 0 ? iamErrorMessage(readErrorMessage(info.error)) : info.error }
      : {}),
  };
}

/** Throws `invalidArgument` naming what a node must not send. */
export function readNodeInfo(message: iam.NodeInfo): NodeInfo {
  const refuse = (what: string) =>
    new AosError('invalidArgument', `node info of "${message.nodeId.slice(0, MAX_ID_LENGTH)}": ${what}`);
  if (message.nodeId === '' || message.nodeId.length > MAX_ID_LENGTH) {
    throw refuse(`the node id has ${message.nodeId.length} characters, expected 1 to ${MAX_ID_LENGTH}`);
  }
  if (!isNodeState(message.state)) throw refuse(`unknown state "${message.state}"`);
  if (message.attrs.length > MAX_ATTRIBUTES)
    throw refuse(`${message.attrs.length} attributes, at most ${MAX_ATTRIBUTES}`);
  if (message.cpus.length > MAX_CPUS) throw refuse(`${message.cpus.length} CPUs, at most ${MAX_CPUS}`);
  if (message.partitions.length > MAX_PARTITIONS) {
    throw refuse(`${message.partitions.length} partitions, at most ${MAX_PARTITIONS}`);
  }
  if (message.partitions.some(({ types }) => types.length > MAX_PARTITION_TYPES)) {
    throw refuse(`a partition has more than ${MAX_PARTITION_TYPES} types`);
  }
  const features = message.osInfo?.features ?? [];
  if (features.length > MAX_OS_FEATURES) throw refuse(`${features.length} OS features, at most ${MAX_OS_FEATURES}`);
  const numbers = [
    ...[message.maxDmips, message.totalRam, message.physicalRam],
    ...message.cpus.flatMap(({ numCores, numThreads, maxDmips }) => [numCores, numThreads, maxDmips]),
    ...message.partitions.map(({ totalSize }) => totalSize),
  ];
  const huge = numbers.find((number) => number > BigInt(Number.MAX_SAFE_INTEGER));
  if (huge !== undefined) throw refuse(`${huge} cannot be meant`);
  const texts = [
    ...[message.osInfo?.os ?? '', message.osInfo?.version ?? '', ...features],
    ...message.cpus.flatMap(({ modelName, archInfo }) => [
      modelName,
      archInfo?.architecture ?? '',
      archInfo?.variant ?? '',
    ]),
    ...message.partitions.flatMap(({ name, path, types }) => [name, path, ...types]),
  ];
  for (const [what, text, most] of [
    ...texts.map((text) => ['description', text, MAX_DESCRIPTION_LENGTH] as const),
    ['type', message.nodeType, MAX_ID_LENGTH],
    ['title', message.title, MAX_ID_LENGTH],
    ...message.attrs.map(({ name }) => ['attribute name', name, MAX_ID_LENGTH] as const),
    ...message.attrs.map(({ name, value }) => [`attribute ${name}`, value, MAX_ATTRIBUTE_LENGTH] as const),
  ] as const) {
    if (text.length > most) throw refuse(`the ${what} has ${text.length} characters, at most ${most}`);
  }
  const error = readErrorMessage(message.error);
  return {
    nodeId: message.nodeId,
    nodeType: message.nodeType,
    title: message.title,
    maxDmips: Number(message.maxDmips),
    totalRamBytes: Number(message.totalRam),
    physicalRamBytes: Number(message.physicalRam) || undefined,
    os: message.osInfo?.os ?? '',
    osVersion: message.osInfo?.version || undefined,
    osFeatures: message.osInfo?.features ?? [],
    cpus: message.cpus.map((cpu) => ({
      modelName: cpu.modelName,
      numCores: Number(cpu.numCores),
      numThreads: Number(cpu.numThreads),
      architecture: cpu.archInfo?.architecture ?? '',
      variant: cpu.archInfo?.variant || undefined,
      maxDmips: Number(cpu.maxDmips) || undefined,
    })),
    partitions: message.partitions.map(({ name, path, types, totalSize }) => ({
      name,
      path,
      types,
      totalSizeBytes: Number(totalSize),
    })),
    attrs: Object.fromEntries(message.attrs.map(({ name, value }) => [name, value])),
    state: message.state,
    error: error && toIamErrorInfo(error),
  };
}

/** The shape of the column `info`: that of the reference, so that its rows can be read too. */
const StoredNode = z.object({
  identity: z.object({ codename: z.string(), title: z.string().default('') }),
  nodeGroupSubject: z.object({ codename: z.string().default('') }).default({ codename: '' }),
  maxDmips: z.number().default(0),
  totalRam: z.number().default(0),
  physicalRam: z.number().optional(),
  osInfo: z
    .object({ os: z.string().default(''), version: z.string().optional(), features: z.array(z.string()).default([]) })
    .default({ os: '', features: [] }),
  cpus: z
    .array(
      z.object({
        modelName: z.string().default(''),
        totalNumCores: z.number().default(0),
        totalNumThreads: z.number().default(0),
        archInfo: z
          .object({ architecture: z.string().default(''), variant: z.string().optional() })
          .default({ architecture: '' }),
        maxDmips: z.number().optional(),
      }),
    )
    .default([]),
  attrs: z.record(z.string(), z.string()).default({}),
  partitions: z
    .array(
      z.object({
        name: z.string(),
        path: z.string().default(''),
        types: z.array(z.string()).default([]),
        totalSize: z.number().default(0),
      }),
    )
    .default([]),
  state: z.enum(NODE_STATES),
  errorInfo: z
    .object({ aosCode: z.number().default(0), exitCode: z.number().default(0), message: z.string().default('') })
    .optional(),
  isConnected: z.boolean().optional(),
});

export function formatStoredNode(info: NodeInfo): string {
  return JSON.stringify({
    identity: { codename: info.nodeId, title: info.title },
    nodeGroupSubject: { codename: info.nodeType },
    maxDmips: info.maxDmips,
    totalRam: info.totalRamBytes,
    physicalRam: info.physicalRamBytes,
    osInfo: { os: info.os, version: info.osVersion, features: info.osFeatures },
    cpus: info.cpus.map((cpu) => ({
      modelName: cpu.modelName,
      totalNumCores: cpu.numCores,
      totalNumThreads: cpu.numThreads,
      archInfo: { architecture: cpu.architecture, variant: cpu.variant },
      maxDmips: cpu.maxDmips,
    })),
    attrs: info.attrs,
    partitions: info.partitions.map(({ name, path, types, totalSizeBytes }) => ({
      name,
      path,
      types,
      totalSize: totalSizeBytes,
    })),
    state: info.state,
    isConnected: false,
    errorInfo: info.error,
  } satisfies z.input<typeof StoredNode> | Record<string, unknown>);
}

/** Reads a row of ours or of the reference. Throws `invalidArgument`. */
export function parseStoredNode(text: string): NodeInfo {
  const { value } = readDocument(StoredNode, JSON.parse(text), { what: 'a stored node' });
  return {
    nodeId: value.identity.codename,
    nodeType: value.nodeGroupSubject.codename,
    title: value.identity.title,
    maxDmips: value.maxDmips,
    totalRamBytes: value.totalRam,
    physicalRamBytes: value.physicalRam,
    os: value.osInfo.os,
    osVersion: value.osInfo.version,
    osFeatures: value.osInfo.features,
    cpus: value.cpus.map((cpu) => ({
      modelName: cpu.modelName,
      numCores: cpu.totalNumCores,
      numThreads: cpu.totalNumThreads,
      architecture: cpu.archInfo.architecture,
      variant: cpu.archInfo.variant,
      maxDmips: cpu.maxDmips,
    })),
    partitions: value.partitions.map(({ totalSize, ...partition }) => ({ ...partition, totalSizeBytes: totalSize })),
    attrs: value.attrs,
    state: value.state,
    error: value.errorInfo,
  };
}
