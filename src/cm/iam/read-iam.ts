/** From IAM's messages to plain data (spec/cm.md 7.7). */

import type { iam } from '../../api/contracts.ts';
import { readErrorMessage } from '../../api/index.ts';
import { isNodeState, toErrorInfo } from '../../core/index.ts';
import type { IamNodeInfo } from '../nodes/index.ts';

/** An unknown state counts as `error`: nothing is placed on such a node. */
export function readNodeInfo(message: iam.NodeInfo): IamNodeInfo {
  const error = readErrorMessage(message.error);
  return {
    nodeId: message.nodeId,
    nodeType: message.nodeType,
    title: message.title,
    maxDmips: Number(message.maxDmips),
    totalRam: Number(message.totalRam),
    physicalRam: Number(message.physicalRam),
    os: readOs(message.osInfo),
    cpus: message.cpus.map((cpu) => ({
      modelName: cpu.modelName,
      numCores: Number(cpu.numCores),
      numThreads: Number(cpu.numThreads),
      arch: { architecture: cpu.archInfo?.architecture ?? '', variant: cpu.archInfo?.variant ?? '' },
      maxDmips: Number(cpu.maxDmips),
    })),
    partitions: message.partitions.map(({ name, types, path, totalSize }) => ({
      name,
      types: [...types],
      path,
      totalSize: Number(totalSize),
    })),
    attrs: Object.fromEntries(message.attrs.map(({ name, value }) => [name, value])),
    state: isNodeState(message.state) ? message.state : 'error',
    isConnected: false,
    ...(error && { error: toErrorInfo(error) }),
  };
}

function readOs(os: iam.NodeInfo['osInfo']): IamNodeInfo['os'] {
  return { os: os?.os ?? '', version: os?.version ?? '', features: [...(os?.features ?? [])] };
}
