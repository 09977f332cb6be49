/** What this node is: from configuration, `/proc` and the file systems (spec/iam.md 5). */
import { readFile, statfs } from 'node:fs/promises';
import { machine } from 'node:os';
import { AosError, asAosError, type Logger } from '../../core/index.ts';
import type { NodeInfoConfig } from '../config/iam-config.ts';
import { MAX_ID_LENGTH } from '../limits.ts';
import type { CpuInfo, NodeInfo, PartitionInfo } from '../node-info.ts';
import { parseCpuInfo } from './cpu-info.ts';

/** Everything but the state, which changes. A node without id or memory size does not start. */
export async function collectNodeInfo(
  config: NodeInfoConfig,
  logger: Logger,
): Promise<Omit<NodeInfo, 'state' | 'error'>> {
  return {
    nodeId: await readNodeId(config.nodeIDPath),
    nodeType: config.nodeType,
    title: config.nodeName,
    maxDmips: config.maxDMIPS,
    totalRamBytes: parseTotalRam(await readText(config.memInfoPath), config.memInfoPath),
    os: config.os ?? '',
    osVersion: config.osVersion,
    osFeatures: [],
    cpus: await readCpus(config, logger),
    partitions: await Promise.all(config.partitions.map((partition) => measure(partition, logger))),
    attrs: config.attrs,
  };
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw asAosError(error, `cannot read ${path}`);
  }
}

async function readNodeId(path: string): Promise<string> {
  const [id = ''] = (await readText(path)).split('\n');
  if (id === '') throw new AosError('failed', `${path} is empty, expected the node id in its first line`);
  if (id.length > MAX_ID_LENGTH) {
    throw new AosError(
      'invalidArgument',
      `the node id in ${path} has ${id.length} characters, at most ${MAX_ID_LENGTH}`,
    );
  }
  return id;
}

/** `MemTotal` of meminfo in bytes. Throws `notFound` when it is missing. */
export function parseTotalRam(text: string, path: string): number {
  const kibibytes = /^MemTotal:\s*(\d+)/m.exec(text)?.[1];
  if (kibibytes === undefined) throw new AosError('notFound', `${path} has no MemTotal`);
  return Number(kibibytes) * 1024;
}

/** A file that cannot be read gives one default CPU: what runs here has at least that. */
async function readCpus(config: NodeInfoConfig, logger: Logger): Promise<CpuInfo[]> {
  const defaults = { architecture: config.architecture ?? machine(), variant: config.architectureVariant };
  try {
    return parseCpuInfo(await readFile(config.cpuInfoPath, 'utf8'), defaults);
  } catch (error) {
    logger.warn({ path: config.cpuInfoPath, error: String(error) }, 'the processors are unknown; one is reported');
    return parseCpuInfo('', defaults);
  }
}

async function measure(partition: NodeInfoConfig['partitions'][number], logger: Logger): Promise<PartitionInfo> {
  try {
    const { blocks, bsize } = await statfs(partition.path);
    return { ...partition, totalSizeBytes: blocks * bsize };
  } catch (error) {
    logger.warn({ partition: partition.name, path: partition.path, error: String(error) }, 'the partition has no size');
    return { ...partition, totalSizeBytes: 0 };
  }
}
