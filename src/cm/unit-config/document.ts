/** The unit configuration: what the fleet's owner says of nodes (spec/cm.md 9.1, 9.3). Pure. */
import * as z from 'zod';
import { AosError, formatDuration, parseJson, readDocument } from '../../core/index.ts';
import { readText } from '../../daemon/index.ts';
import { AlertRules } from '../../oci/index.ts';
import { NODES } from '../numbers.ts';

const Percent = z.number().min(0);

const ResourceRatios = z.object({
  cpu: Percent.optional(),
  ram: Percent.optional(),
  storage: Percent.optional(),
  state: Percent.optional(),
});

const NodeEntry = z.object({
  version: z.string().optional(),
  node: z.object({ codename: z.string('node codename is missing').min(1, 'node codename is missing') }).optional(),
  nodeGroupSubject: z.object(
    { codename: z.string('nodeGroupSubject codename is missing').min(1, 'nodeGroupSubject codename is missing') },
    'nodeGroupSubject codename is missing',
  ),
  alertRules: AlertRules.optional(),
  resourceRatios: ResourceRatios.optional(),
  labels: z.array(z.string()).default([]),
  priority: z.int().default(0),
});
type NodeEntry = z.output<typeof NodeEntry>;

export const UnitConfigSchema = z.object({
  formatVersion: z.string().default(''),
  version: z.string(),
  nodes: z.array(NodeEntry).default([]),
});
export type UnitConfigDocument = z.output<typeof UnitConfigSchema>;

/** What applies to one node. */
export interface NodeConfig {
  readonly version: string;
  readonly nodeId: string;
  readonly nodeType: string;
  readonly alertRules?: AlertRules | undefined;
  readonly resourceRatios?: z.output<typeof ResourceRatios> | undefined;
  readonly labels: readonly string[];
  readonly priority: number;
}

/** Reads a configuration as the cloud or the file has it. Throws `invalidArgument` naming the field. */
export function readUnitConfig(value: unknown): UnitConfigDocument {
  return readDocument(UnitConfigSchema, value, { what: 'unit config', lenientScalars: true }).value;
}

export function parseUnitConfig(text: string): UnitConfigDocument {
  checkSize(text);
  return readUnitConfig(parseJson(text, 'unit config'));
}

/** For `aos-cm --check unit-config`: answers what its author should know, throws what is wrong, with its line. */
export function checkUnitConfig(text: string, path: string): readonly string[] {
  checkSize(text);
  return readText(UnitConfigSchema, text, path, { lenientScalars: true }).warnings;
}

function checkSize(text: string): void {
  if (Buffer.byteLength(text) > NODES.maxUnitConfigBytes) {
    throw new AosError('noMemory', `unit config has more than ${NODES.maxUnitConfigBytes} bytes`);
  }
}

/** The entry of the node's id, else of its type, else nothing special. */
export function nodeConfigOf(document: UnitConfigDocument | undefined, nodeId: string, nodeType: string): NodeConfig {
  const nodes = document?.nodes ?? [];
  const entry =
    nodes.find(({ node }) => node?.codename === nodeId) ??
    nodes.find(({ nodeGroupSubject }) => nodeGroupSubject.codename === nodeType);
  return {
    version: document?.version ?? '',
    nodeId,
    nodeType,
    labels: entry?.labels ?? [],
    priority: entry?.priority ?? 0,
    ...(entry?.alertRules ? { alertRules: entry.alertRules } : {}),
    ...(entry?.resourceRatios ? { resourceRatios: entry.resourceRatios } : {}),
  };
}

/** The file as this and other implementations of 9.1 write it. Throws `noMemory` when it could not be read again. */
export function writeUnitConfig({ formatVersion, version, nodes }: UnitConfigDocument): string {
  const text = JSON.stringify({ formatVersion, version, nodes: nodes.map(writeEntry) });
  checkSize(text);
  return text;
}

function writeEntry({ version, node, nodeGroupSubject, ...rest }: NodeEntry) {
  return {
    ...(version === undefined ? {} : { version }),
    ...(node ? { node } : {}),
    nodeGroupSubject,
    ...writeRest(rest),
  };
}

/** A node's part for its SM, with the node's type always in it. Throws `noMemory` when it exceeds what SMs take. */
export function writeNodeConfig(config: NodeConfig): string {
  const text = JSON.stringify({
    version: config.version,
    node: { codename: config.nodeId },
    nodeGroupSubject: { codename: config.nodeType },
    ...writeRest(config),
  });
  if (Buffer.byteLength(text) > NODES.maxNodeConfigBytes) {
    throw new AosError('noMemory', `config of node has more than ${NODES.maxNodeConfigBytes} bytes`);
  }
  return text;
}

function writeRest({
  alertRules,
  resourceRatios,
  labels,
  priority,
}: Pick<NodeConfig, 'alertRules' | 'resourceRatios' | 'labels' | 'priority'>) {
  return {
    ...(alertRules ? { alertRules: writeRules(alertRules) } : {}),
    ...(resourceRatios ? { resourceRatios } : {}),
    labels,
    priority,
  };
}

function writeRules({ ram, cpu, partitions, download, upload }: AlertRules) {
  return {
    ...(ram ? { ram: withDuration(ram) } : {}),
    ...(cpu ? { cpu: withDuration(cpu) } : {}),
    partitions: partitions.map(withDuration),
    ...(download ? { download: withDuration(download) } : {}),
    ...(upload ? { upload: withDuration(upload) } : {}),
  };
}

function withDuration<T extends { readonly minTimeoutMs: number }>({ minTimeoutMs, ...rest }: T) {
  return { ...rest, minTimeout: formatDuration(minTimeoutMs) };
}
